// What single operations cost, in ns: with hooks in the program and without (make bench).
package main

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

const (
	operations  = 400_000
	repetitions = 15
)

var sink *[64]byte

func allocate() {
	for i := 0; i < operations; i++ {
		sink = new([64]byte)
	}
}

func start() {
	var all sync.WaitGroup
	for i := 0; i < operations/100; i++ {
		all.Add(100)
		for j := 0; j < 100; j++ {
			go all.Done()
		}
		all.Wait()
	}
}

func call() {
	for i := 0; i < operations; i++ {
		syscall.Getppid()
	}
}

// The fastest of several: what the machine did meanwhile isn't the operation's.
func fastest(work func()) float64 {
	least := time.Hour
	for i := 0; i < repetitions; i++ {
		begin := time.Now()
		work()
		least = min(least, time.Since(begin))
	}
	return float64(least.Nanoseconds()) / operations
}

func main() {
	fmt.Printf("allocation %.2f\ngoroutine %.2f\nsyscall %.2f\n", fastest(allocate), fastest(start), fastest(call))
}
