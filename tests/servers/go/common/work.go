package common

import (
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// Work is what a handler does before it answers Hello; Do gets the query's Parameter.
type Work struct {
	Path      string
	Parameter string
	Do        func(n int)
}

// Works are served by all servers alike: one more is one more entry here.
var Works = []Work{
	{"/slices/a", "k", Slices}, // two routes of one handler, to be told apart in one load
	{"/slices/b", "k", Slices},
	{"/children", "k", Children},
	{"/children/spin", "ms", SpinningChildren},
	{"/nested", "k", Nested},
	{"/late", "ms", Late},
	{"/pool", "k", Pool},
	{"/worker", "k", ByWorker},
	{"/spin", "ms", Spin},
	{"/panic", "k", NilPanic},
	{"/deep", "mb", Deep},
	{"/sites", "k", AllSites},
	{"/exec", "k", Exec},
	{"/threads", "k", Threads},
	{"/park", "k", Park},
	{"/block", "k", Block},
}

// SliceBytes is what each slice of these handlers takes.
const SliceBytes = 1000

//go:noinline
func newSlice() []byte {
	return make([]byte, SliceBytes)
}

// Slices allocates k slices and nothing else.
func Slices(k int) {
	for i := 0; i < k; i++ {
		newSlice()
	}
}

// Children starts k goroutines of ten slices each, and waits for them.
func Children(k int) {
	var all sync.WaitGroup
	all.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			Slices(10)
			all.Done()
		}()
	}
	all.Wait()
}

// Nested starts k goroutines, each of which starts two of ten slices each, and waits for them all.
func Nested(k int) {
	var all sync.WaitGroup
	all.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			Children(2)
			all.Done()
		}()
	}
	all.Wait()
}

// Late leaves a goroutine behind that allocates ten slices ms milliseconds later, when the request is over.
func Late(ms int) {
	go func() {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		Slices(10)
	}()
}

var pool = sync.Pool{New: func() any {
	slice := newSlice()
	return &slice
}}

// Pool borrows a slice.
func Pool(int) {
	slice := pool.Get().(*[]byte)
	(*slice)[0]++
	pool.Put(slice)
}

type job struct {
	slices int
	done   chan struct{}
}

var jobs = make(chan job)

// StartWorkers starts the goroutines behind ByWorker; main calls it once.
func StartWorkers() {
	for i := 0; i < 4; i++ {
		go func() {
			for job := range jobs {
				Slices(job.slices)
				close(job.done)
			}
		}()
	}
}

// ByWorker has k slices allocated by a goroutine that no request started.
func ByWorker(k int) {
	done := make(chan struct{})
	jobs <- job{k, done}
	<-done
}

// SpinParts is how often Spin lets others run.
const SpinParts = 8

// Spin keeps a CPU busy for ms milliseconds.
func Spin(ms int) {
	part := time.Duration(ms) * time.Millisecond / SpinParts
	for i := 0; i < SpinParts; i++ {
		for start := time.Now(); time.Since(start) < part; {
		}
		runtime.Gosched()
	}
}

// SpinningChildren starts two goroutines that each keep a CPU busy for ms milliseconds, and waits for them.
func SpinningChildren(ms int) {
	var all sync.WaitGroup
	all.Add(2)
	for i := 0; i < 2; i++ {
		go func() {
			Spin(ms)
			all.Done()
		}()
	}
	all.Wait()
}

var nobody *User

// NilPanic uses a nil pointer and recovers.
func NilPanic(int) {
	defer func() {
		if recover() == nil {
			panic("a nil pointer was no error")
		}
	}()
	nobody.ID++
}

//go:noinline
func deepen(levels int) byte {
	var frame [1024]byte
	frame[levels%len(frame)] = byte(levels)
	if levels > 0 {
		frame[0] += deepen(levels - 1)
	}
	return frame[levels%len(frame)]
}

// Deep needs mb MiB of stack.
func Deep(mb int) {
	deepen(mb * 1024)
}

// Exec runs a program.
func Exec(int) {
	if err := exec.Command("/bin/true").Run(); err != nil {
		panic(err)
	}
}

// Threads starts k goroutines that end while they are locked to a thread, which ends with them.
func Threads(k int) {
	var all sync.WaitGroup
	all.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			runtime.LockOSThread()
			all.Done()
		}()
	}
	all.Wait()
}
