// Package fuzz looks for cases that an implementation gets wrong. It draws configurations weighted
// to edges, shrinks those that fail, and finds the condition under which they fail.
package fuzz
