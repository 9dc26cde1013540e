package common

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	cpuprofile "runtime/pprof"
	"strconv"
	"testing"
	"time"
)

// Handlers are what all servers on net/http serve alike.
var Handlers = map[string]http.HandlerFunc{
	"/bytes":               bytesHandler,
	"/stream":              streamHandler,
	"/nothing":             func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"/memstats":            func(w http.ResponseWriter, r *http.Request) { Answer(w, 200, ReadFigures()) },
	"/allocs":              allocsHandler,
	"/sites/told":          sitesHandler,
	"/profile":             profileHandler,
	"/debug/pprof/profile": pprof.Profile,
	"/debug/pprof/trace":   pprof.Trace,
}

// Answer answers with a value as JSON.
func Answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// Number is a parameter of the query, 0 where it has none.
func Number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}

// bytesHandler answers n bytes, their number in the head.
func bytesHandler(w http.ResponseWriter, r *http.Request) {
	n := Number(r, "n")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	w.Write(make([]byte, n))
}

// streamHandler answers k chunks, one a write, ms milliseconds apart.
func streamHandler(w http.ResponseWriter, r *http.Request) {
	for i := 0; i < Number(r, "k"); i++ {
		fmt.Fprintf(w, "part %d\n", i)
		w.(http.Flusher).Flush()
		time.Sleep(time.Duration(Number(r, "ms")) * time.Millisecond)
	}
}

// profileHandler answers a CPU profile of ms milliseconds, sampled each millisecond.
func profileHandler(w http.ResponseWriter, r *http.Request) {
	// StartCPUProfile leaves a rate that was set before alone, with a word on stderr.
	runtime.SetCPUProfileRate(1000)
	if err := cpuprofile.StartCPUProfile(w); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	time.Sleep(time.Duration(Number(r, "ms")) * time.Millisecond)
	cpuprofile.StopCPUProfile()
}

// Figures are the runtime's own of this process.
type Figures struct {
	Mallocs, TotalAlloc, HeapInuse, NextGC, PauseTotalNs uint64
	NumGC                                                uint32
	Goroutines                                           int
}

// ReadFigures asks the runtime.
func ReadFigures() Figures {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Figures{m.Mallocs, m.TotalAlloc, m.HeapInuse, m.NextGC, m.PauseTotalNs, m.NumGC, runtime.NumGoroutine()}
}

// allocsHandler answers how often the work of a path allocates, by testing.AllocsPerRun; to be asked when all else rests.
func allocsHandler(w http.ResponseWriter, r *http.Request) {
	for _, work := range Works {
		if work.Path == r.URL.Query().Get("path") {
			n := Number(r, work.Parameter)
			Answer(w, 200, testing.AllocsPerRun(100, func() { work.Do(n) }))
			return
		}
	}
	http.NotFound(w, r)
}
