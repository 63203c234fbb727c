// Package selftest measures the diagnosis. It makes every known mistake on fresh random cases,
// where possible in code that the diagnosis does not use. Then it counts how each wrong output is
// named: by its own mistake, by another mistake with the same output, by none, or by a wrong one.
package selftest
