package num

import (
	"fmt"
	"strings"
)

// UpTo returns 0, 1, ..., n-1.
func UpTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// Where returns the indices of the flags that are set, never nil.
func Where(flags []bool) []int {
	list := []int{}
	for i, set := range flags {
		if set {
			list = append(list, i)
		}
	}
	return list
}

// Ranges writes a sorted list of numbers: "0-3, 5". It returns "" if the list is empty.
func Ranges(list []int) string {
	var words []string
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1] == list[end]+1 {
			end++
		}
		word := fmt.Sprint(list[i])
		if end > i {
			word += fmt.Sprintf("-%d", list[end])
		}
		words = append(words, word)
		i = end + 1
	}
	return strings.Join(words, ", ")
}
