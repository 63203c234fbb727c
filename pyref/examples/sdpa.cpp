// Attention in C++17 and float32. difftest starts this program once for every case:
//
//     g++ -std=c++17 -O2 -o sdpa pyref/examples/sdpa.cpp
//     difftest --case 'sdpa/**' --once -- ./sdpa
//
// Its argument is the folder of the case. An exception ends up on stderr, and in the report. The
// program needs nlohmann/json, Debian's nlohmann-json3-dev. Shapes are (..., H, T, E).

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

using json = nlohmann::json;
using Shape = std::vector<size_t>;

struct Tensor {
    Shape shape;
    std::vector<float> data;
};

// Attention computes scaled_dot_product_attention of inputs expanded to one leading shape (..., H).
struct Attention {
    json config;
    Shape outer;
    size_t L, S, E, Ev;
    Tensor query, key, value, allow, bias, sinks;  // the last three may be empty

    Attention(const json& request, const std::string& dir);
    Tensor output() const;
    float score(size_t block, size_t i, size_t j) const;  // -infinity if key j is hidden from query i
    void softmax(std::vector<float>& scores, size_t head) const;
};

void write(const std::string& file, const Tensor& t);

const std::set<std::string> offered = {"query", "key", "value", "allow", "bias", "sinks"};

int main(int argc, char** argv) {
    const std::string dir = std::string(argv[argc - 1]) + "/";
    const json request = json::parse(std::ifstream(dir + "request.json"));
    const std::string op = request["op"], precision = request["precision"], file = request["output"];
    std::string reason;
    if (op != "scaled_dot_product_attention") reason = op + " is not offered";
    for (const auto& input : request["inputs"].items())
        if (reason.empty() && !offered.count(input.key())) reason = "no " + input.key() + " yet";
    if (precision != "float32") reason = "no arrays of " + precision;
    if (reason.empty()) write(dir + file, Attention(request, dir).output());
    else std::ofstream(dir + "reply.json") << json{{"type", "skipped"}, {"reason", reason}};
}

Tensor Attention::output() const {
    Tensor out{outer, {}};
    out.shape.insert(out.shape.end(), {L, Ev});
    for (size_t block = 0; block < query.data.size() / (L * E); block++)
        for (size_t i = 0; i < L; i++) {
            std::vector<float> weights(S), context(Ev);
            for (size_t j = 0; j < S; j++) weights[j] = score(block, i, j);
            softmax(weights, block % outer.back());
            const float* v = &value.data[block * S * Ev];
            for (size_t n = 0; n < S * Ev; n++) context[n % Ev] += weights[n / Ev] * v[n];
            out.data.insert(out.data.end(), context.begin(), context.end());
        }
    return out;
}

float Attention::score(size_t block, size_t i, size_t j) const {
    const long distance = long(j) - (config["first_position"].get<long>() + long(i));
    if (config["causality"] != "none" && distance > 0) return -INFINITY;
    if (!config["window"].is_null() && std::labs(distance) >= config["window"].get<long>()) return -INFINITY;
    const size_t at = (block * L + i) * S + j;
    if (!allow.data.empty() && allow.data[at] == 0) return -INFINITY;
    const float *q = &query.data[(block * L + i) * E], *k = &key.data[(block * S + j) * E];
    float score = std::inner_product(q, q + E, k, 0.0f) * float(config["scale"]);
    if (const json& c = config["softcap"]; !c.is_null()) score = float(c) * std::tanh(score / float(c));
    if (config["alibi"]) {
        const size_t H = outer.back(), h = block % H, n = size_t(1) << size_t(std::log2(H));
        score -= std::exp2(h < n ? -8.0f * (h + 1) / n : -4.0f * (2 * (h - n) + 1) / n) * std::labs(distance);
    }
    return bias.data.empty() ? score : score + bias.data[at];
}

void Attention::softmax(std::vector<float>& scores, size_t head) const {
    const float largest = *std::max_element(scores.begin(), scores.end());
    if (largest == -INFINITY)
        return std::fill(scores.begin(), scores.end(), config["empty_row"] == "nan" ? NAN : 0.0f);
    const float sink = sinks.data.empty() ? -INFINITY : sinks.data[head], base = std::max(largest, sink);
    float total = std::exp(sink - base);
    for (float& s : scores) total += s = std::exp(s - base);
    for (float& s : scores) s /= total;
}

// read parses an .npy file: magic and version, header length, header, numbers.
Tensor read(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const size_t front = 10 + (unsigned char)bytes.at(8) + 256 * (unsigned char)bytes.at(9);
    const std::string header = bytes.substr(10, front - 10);
    std::istringstream shape(header.substr(header.find('(') + 1));
    Tensor t;
    for (size_t size; shape >> size; shape.ignore()) t.shape.push_back(size);
    t.data.assign(bytes.begin() + front, bytes.end());  // of bool, a byte each
    if (header.find("'<f4'") == std::string::npos) return t;
    t.data.resize(t.data.size() / sizeof(float));
    bytes.copy(reinterpret_cast<char*>(t.data.data()), bytes.size() - front, front);
    return t;
}

void write(const std::string& file, const Tensor& t) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    for (size_t size : t.shape) header += std::to_string(size) + ", ";
    (header += ")}").resize(117, ' ');
    std::ofstream out(file, std::ios::binary);
    out << std::string("\x93NUMPY\x01\0\x76\0", 10) << header << '\n';
    out.write(reinterpret_cast<const char*>(t.data.data()), t.data.size() * sizeof(float));
}

// expand broadcasts dimensions of size 1, and repeats each key head for its query heads.
Tensor expand(const Tensor& t, Shape full, size_t rows, size_t columns) {
    full.insert(full.end(), {rows, columns});
    const size_t size = std::accumulate(full.begin(), full.end(), size_t(1), std::multiplies<>());
    const size_t more = full.size() - t.shape.size();
    Tensor out{full, std::vector<float>(size)};
    for (size_t n = 0; n < size; n++) {
        size_t from = 0, step = 1, rest = n;
        for (size_t d = t.shape.size(); d-- > 0; step *= t.shape[d], rest /= full[more + d])
            from += rest % full[more + d] * t.shape[d] / full[more + d] * step;
        out.data[n] = t.data[from];
    }
    return out;
}

Attention::Attention(const json& request, const std::string& dir) : config(request["config"]) {
    std::map<std::string, Tensor> given;
    for (const auto& [name, file] : request["inputs"].items()) given[name] = read(dir + std::string(file));
    const Shape q = given["query"].shape, k = given["key"].shape;
    L = q.end()[-2], E = q.back(), S = k.end()[-2], Ev = given["value"].shape.back();
    outer = q.size() < k.size() ? k : q;
    outer.resize(outer.size() - 2);
    outer.back() = q.end()[-3];
    query = expand(given["query"], outer, L, E);
    key = expand(given["key"], outer, S, E);
    value = expand(given["value"], outer, S, Ev);
    if (given.count("allow")) allow = expand(given["allow"], outer, L, S);
    if (given.count("bias")) bias = expand(given["bias"], outer, L, S);
    sinks = given["sinks"];
}
