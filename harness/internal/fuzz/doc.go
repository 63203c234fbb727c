// Package fuzz looks for cases that an implementation gets wrong. It draws configurations weighted
// to edges, shrinks the failing ones, and finds the condition under which they fail.
package fuzz
