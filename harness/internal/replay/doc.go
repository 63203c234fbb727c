// Package replay makes every known mistake on a case and finds the mistakes that give an output:
// one alone, one in lower precision, or two at once. It also tells which mistakes a case can see.
//
// An output matches a mistake if it is within the noise of the mistaken computation and no other
// mistake comes near. Values without noise rule out nearly all mistakes; only the nearest are
// computed again with their noise. Each search says what it left out when its context ends.
package replay
