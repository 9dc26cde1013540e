package common

import (
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
)

// Sites allocate known numbers of bytes at known lines, and say by runtime.Callers where that is.

// Site is a line that allocates.
type Site struct {
	Bytes  int   // a time
	Count  int64 // of times
	Frames []Frame
}

// Frame is what runtime.CallersFrames says of one, the innermost first.
type Frame struct {
	Function, File string
	Line           int
}

type told struct {
	bytes  int
	count  int64
	frames atomic.Value
}

const (
	direct = iota
	inlined
	closure
	methodValue
	promoted
	generic
	goroutine
	deferred
	panicked
	appended
	joined
	deep
	siteCount
)

var siteNames = [siteCount]string{"direct", "inlined", "closure", "methodValue", "promoted", "generic", "goroutine", "deferred",
	"panicked", "appended", "joined", "deep"}

// Bytes are those of the allocator's own classes, as append and + ask for whole ones.
var sites = [siteCount]told{{bytes: 3072}, {bytes: 2048}, {bytes: 4096}, {bytes: 1024}, {bytes: 6144}, {bytes: 2304},
	{bytes: 8192}, {bytes: 1536}, {bytes: 4864}, {bytes: 5376}, {bytes: 3456}, {bytes: 9472}}

const joinedTail = "---"

//go:noinline
func at(site int) int {
	s := &sites[site]
	if atomic.AddInt64(&s.count, 1) == 1 {
		pcs := make([]uintptr, 1024)
		s.frames.Store(pcs[:runtime.Callers(2, pcs)])
	}
	return s.bytes
}

var kept []byte

//go:noinline
func keep(b []byte) {
	if len(b) == 1 {
		kept = b
	}
}

//go:noinline
func keepString(s string) {
	if len(s) == 1 {
		kept = []byte(s)
	}
}

func small() []byte {
	return make([]byte, at(inlined))
}

func smaller() []byte {
	return small()
}

type holder struct{ unused int }

//go:noinline
func (h *holder) hold() {
	keep(make([]byte, at(methodValue)))
}

// By value: called by an interface that holds a pointer, it goes through a wrapper that the compiler makes.
//
//go:noinline
func (h holder) promote() {
	keep(make([]byte, at(promoted)))
}

type promoter interface{ promote() }

type outer struct{ holder }

//go:noinline
func promoterOf(o *outer) promoter {
	return o
}

//go:noinline
func makeOf[T any](kind T) []T {
	return make([]T, at(generic)/16)
}

//go:noinline
func call(f func()) {
	f()
}

//go:noinline
func recovered(p *holder) {
	defer func() {
		recover()
		keep(make([]byte, at(panicked)))
	}()
	p.unused = 1
}

//go:noinline
func deepDown(n int, room [16]int) int {
	if n == 0 {
		keep(make([]byte, at(deep)))
		return room[3]
	}
	room[n%16]++
	return deepDown(n-1, room) + room[1]
}

//go:noinline
func direct1() {
	defer func() {
		keep(make([]byte, at(deferred)))
	}()
	keep(make([]byte, at(direct)))
}

// AllSites allocates once at each.
func AllSites(int) {
	var none []byte
	o := &outer{}
	value := o.hold
	direct1()
	keep(smaller())
	call(func() { keep(make([]byte, at(closure))) })
	call(value)
	promoterOf(o).promote()
	makeOf("")
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		keep(make([]byte, at(goroutine)))
		all.Done()
	}()
	all.Wait()
	recovered(nil)
	keep(append(none, filler[:at(appended)]...))
	keepString(fillerText[:at(joined)-len(joinedTail)] + joinedTail)
	deepDown(150, [16]int{})
}

var filler [8192]byte
var fillerText = string(filler[:])

func sitesHandler(w http.ResponseWriter, r *http.Request) {
	answer := map[string]Site{}
	for i := range sites {
		s := &sites[i]
		site := Site{Bytes: s.bytes, Count: atomic.LoadInt64(&s.count)}
		pcs, _ := s.frames.Load().([]uintptr)
		for frames := runtime.CallersFrames(pcs); len(pcs) > 0; {
			frame, more := frames.Next()
			site.Frames = append(site.Frames, Frame{frame.Function, frame.File, frame.Line})
			if !more {
				break
			}
		}
		answer[siteNames[i]] = site
	}
	Answer(w, 200, answer)
}
