//go:build go1.23

package common

import "iter"

func init() {
	Works = append(Works, Work{"/pull", "k", Pull})
}

// Pull takes k slices from a coroutine that allocates them.
func Pull(k int) {
	next, stop := iter.Pull(func(yield func([]byte) bool) {
		for i := 0; i < k && yield(newSlice()); i++ {
		}
	})
	defer stop()
	for _, ok := next(); ok; _, ok = next() {
	}
}
