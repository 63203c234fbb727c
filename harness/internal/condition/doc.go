// Package condition finds what failing points of a table share and no passing one has: intervals
// and residues of numbers, and relations between two numbers. It knows nothing but the table.
package condition
