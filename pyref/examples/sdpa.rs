// Attention in Rust and float32, with the standard library alone. difftest starts this program once
// for every case:
//
//     rustc --edition 2021 -O -o sdpa pyref/examples/sdpa.rs
//     difftest --case 'sdpa/**' --once -- ./sdpa
//
// Its argument is the folder of the case. A panic ends up on stderr, and in the report. Shapes are
// (..., H, T, E).

use std::collections::BTreeMap;
use std::{env, fs};

fn main() {
    let dir = env::args().last().unwrap();
    let request = parse(&fs::read_to_string(format!("{dir}/request.json")).unwrap());
    let inputs = request.get("inputs").fields();
    let offered = ["query", "key", "value", "allow", "bias", "sinks"];
    let reason = if request.get("op").text() != "scaled_dot_product_attention" {
        format!("{} is not offered", request.get("op").text())
    } else if let Some(name) = inputs.keys().find(|name| !offered.contains(&name.as_str())) {
        format!("no {name} yet")
    } else if request.get("precision").text() != "float32" {
        format!("no arrays of {}", request.get("precision").text())
    } else {
        let tensors = inputs.iter().map(|(name, file)| (name.as_str(), read(&format!("{dir}/{}", file.text()))));
        let output = attention(&tensors.collect(), request.get("config"));
        return write(&format!("{dir}/{}", request.get("output").text()), &output);
    };
    fs::write(format!("{dir}/reply.json"), format!("{{\"type\": \"skipped\", \"reason\": \"{reason}\"}}")).unwrap();
}

#[derive(Clone, Default)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

// attention computes scaled_dot_product_attention.
fn attention(inputs: &BTreeMap<&str, Tensor>, config: &Json) -> Tensor {
    let (query, key, value) = (&inputs["query"], &inputs["key"], &inputs["value"]);
    let (queries, width) = last_two(query);
    let (keys, value_width) = last_two(value);
    let outer = leading(query, key);
    let blocks: usize = outer.iter().product();
    let heads = outer[outer.len() - 1];
    let query = expand(query, &outer, queries, width);
    let key = expand(key, &outer, keys, width);
    let value = expand(value, &outer, keys, value_width);
    let mask = |name: &str| inputs.get(name).map(|t| expand(t, &outer, queries, keys));
    let (allow, bias) = (mask("allow"), mask("bias"));
    let sinks = inputs.get("sinks");
    let scores = Scores::new(config, heads);

    let mut data = Vec::with_capacity(blocks * queries * value_width);
    for block in 0..blocks {
        for i in 0..queries {
            let q = &query.data[(block * queries + i) * width..][..width];
            let mut weights: Vec<f32> = (0..keys)
                .map(|j| {
                    let at = (block * queries + i) * keys + j;
                    if allow.as_ref().map_or(false, |t| t.data[at] == 0.0) {
                        return f32::NEG_INFINITY;
                    }
                    let k = &key.data[(block * keys + j) * width..][..width];
                    let dot = q.iter().zip(k).map(|(a, b)| a * b).sum();
                    scores.score(dot, block % heads, i, j) + bias.as_ref().map_or(0.0, |t| t.data[at])
                })
                .collect();
            let sink = sinks.map_or(f32::NEG_INFINITY, |t| t.data[block % heads]);
            softmax(&mut weights, sink, scores.empty_row);
            let mut context = vec![0.0; value_width];
            for (j, weight) in weights.iter().enumerate() {
                let v = &value.data[(block * keys + j) * value_width..][..value_width];
                context.iter_mut().zip(v).for_each(|(c, v)| *c += weight * v);
            }
            data.extend(context);
        }
    }
    Tensor { shape: [outer, vec![queries, value_width]].concat(), data }
}

// Scores turns products of query and key into scores.
struct Scores {
    causal: bool,
    first_position: i64,
    window: Option<i64>,
    scale: f32,
    softcap: Option<f32>,
    slopes: Vec<f32>, // of ALiBi by head, 0 without
    empty_row: f32,   // of the weights of a query that sees no key
}

impl Scores {
    fn new(config: &Json, heads: usize) -> Scores {
        let n = 1 << heads.ilog2();
        let slope = |h: usize| match h < n {
            true => -8.0 * (h + 1) as f32 / n as f32,
            false => -4.0 * (2 * (h - n) + 1) as f32 / n as f32,
        };
        let alibi = config.get("alibi").is_true();
        Scores {
            causal: config.get("causality").text() != "none",
            first_position: config.get("first_position").number().unwrap() as i64,
            window: config.get("window").number().map(|w| w as i64),
            scale: config.get("scale").number().unwrap() as f32,
            softcap: config.get("softcap").number().map(|c| c as f32),
            slopes: (0..heads).map(|h| if alibi { slope(h).exp2() } else { 0.0 }).collect(),
            empty_row: if config.get("empty_row").text() == "nan" { f32::NAN } else { 0.0 },
        }
    }

    fn score(&self, dot: f32, head: usize, i: usize, j: usize) -> f32 {
        let distance = j as i64 - (self.first_position + i as i64);
        let far = self.window.map_or(false, |w| distance.abs() >= w);
        if self.causal && distance > 0 || far {
            return f32::NEG_INFINITY;
        }
        let mut score = self.scale * dot;
        if let Some(c) = self.softcap {
            score = c * (score / c).tanh();
        }
        score - self.slopes[head] * distance.abs() as f32
    }
}

fn softmax(scores: &mut [f32], sink: f32, empty: f32) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return scores.fill(empty);
    }
    let base = largest.max(sink);
    scores.iter_mut().for_each(|s| *s = (*s - base).exp());
    let total = (sink - base).exp() + scores.iter().sum::<f32>();
    scores.iter_mut().for_each(|s| *s /= total);
}

fn last_two(t: &Tensor) -> (usize, usize) {
    (t.shape[t.shape.len() - 2], t.shape[t.shape.len() - 1])
}

// leading returns the dimensions before the last two, with the heads of the query as the last.
fn leading(query: &Tensor, key: &Tensor) -> Vec<usize> {
    let longer = if query.shape.len() < key.shape.len() { key } else { query };
    let mut outer = longer.shape[..longer.shape.len() - 2].to_vec();
    *outer.last_mut().unwrap() = query.shape[query.shape.len() - 3];
    outer
}

// expand broadcasts dimensions of size 1, and repeats each key head for its query heads.
fn expand(t: &Tensor, outer: &[usize], rows: usize, columns: usize) -> Tensor {
    let full = [outer, &[rows, columns]].concat();
    let more = full.len() - t.shape.len();
    let place = |n: usize| {
        let (mut from, mut step, mut rest) = (0, 1, n);
        for d in (0..t.shape.len()).rev() {
            from += rest % full[more + d] * t.shape[d] / full[more + d] * step;
            step *= t.shape[d];
            rest /= full[more + d];
        }
        from
    };
    let data = (0..full.iter().product()).map(|n| t.data[place(n)]).collect();
    Tensor { shape: full, data }
}

// read parses an .npy file: magic and version, header length, header, numbers.
fn read(file: &str) -> Tensor {
    let bytes = fs::read(file).unwrap();
    let front = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = String::from_utf8_lossy(&bytes[10..front]);
    let inside = header.split(['(', ')']).nth(1).unwrap();
    let shape = inside.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    let data = match header.contains("'<f4'") {
        true => bytes[front..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        false => bytes[front..].iter().map(|&b| b as f32).collect(), // of bool, a byte each
    };
    Tensor { shape, data }
}

fn write(file: &str, t: &Tensor) {
    let sizes: String = t.shape.iter().map(|size| format!("{size}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes})}}");
    let mut bytes = b"\x93NUMPY\x01\0\x76\0".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(t.data.iter().flat_map(|x| x.to_le_bytes()));
    fs::write(file, bytes).unwrap();
}

// Json is a value of the request. A list is not needed, and is read as null.
enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Object(BTreeMap<String, Json>),
}

impl Json {
    fn fields(&self) -> &BTreeMap<String, Json> {
        match self {
            Json::Object(fields) => fields,
            _ => panic!("request.json: want an object"),
        }
    }
    fn get(&self, name: &str) -> &Json {
        self.fields().get(name).unwrap_or_else(|| panic!("request.json: no field {name}"))
    }
    fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            _ => panic!("request.json: want a string"),
        }
    }
    fn number(&self) -> Option<f64> {
        match self {
            Json::Number(x) => Some(*x),
            _ => None,
        }
    }
    fn is_true(&self) -> bool {
        matches!(self, Json::Bool(true))
    }
}

// parse reads a request. The words in it have no escapes.
fn parse(text: &str) -> Json {
    let mut rest = text;
    value(&mut rest)
}

fn value(rest: &mut &str) -> Json {
    match next(rest) {
        '{' => Json::Object(members(rest)),
        '[' => {
            while !rest.trim_start().starts_with(']') {
                value(rest);
                skip(rest, ',');
            }
            next(rest);
            Json::Null
        }
        '"' => {
            let (text, after) = rest.split_once('"').unwrap();
            *rest = after;
            Json::Text(text.to_string())
        }
        first => {
            let end = rest.find([',', '}', ']', '\n', ' ']).unwrap_or(rest.len());
            let word = format!("{first}{}", &rest[..end]);
            *rest = &rest[end..];
            match word.as_str() {
                "true" | "false" => Json::Bool(word == "true"),
                "null" => Json::Null,
                number => Json::Number(number.parse().unwrap()),
            }
        }
    }
}

fn members(rest: &mut &str) -> BTreeMap<String, Json> {
    let mut fields = BTreeMap::new();
    while !rest.trim_start().starts_with('}') {
        let name = value(rest).text().to_string();
        skip(rest, ':');
        fields.insert(name, value(rest));
        skip(rest, ',');
    }
    next(rest);
    fields
}

// next takes the next character that is no blank.
fn next(rest: &mut &str) -> char {
    *rest = rest.trim_start();
    let first = rest.chars().next().unwrap();
    *rest = &rest[first.len_utf8()..];
    first
}

// skip takes a character if it is the next one.
fn skip(rest: &mut &str, mark: char) {
    *rest = rest.trim_start();
    *rest = rest.strip_prefix(mark).unwrap_or(*rest);
}
