package common

import (
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
)

var never chan struct{}

// Park starts k goroutines that stay.
func Park(k int) {
	var all sync.WaitGroup
	all.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			all.Done()
			<-never
		}()
	}
	all.Wait()
}

// Block starts k threads that stay in a system call each.
func Block(k int) {
	debug.SetMaxThreads(2 * (k + 10000))
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	all.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			runtime.LockOSThread()
			all.Done()
			syscall.Read(pipe[0], make([]byte, 1))
		}()
	}
	all.Wait()
}
