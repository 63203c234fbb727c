// Package selftest judges the diagnosis. It makes every known mistake on fresh random cases, in code that is
// not the diagnosis's where it can, and counts what each output is called: by its name, by that of a mistake
// that gives the same output, by none, or by a wrong one.
package selftest
