// The net/http test server. Usage: nethttp PORT
//
// It needs the standard library of Go 1.18 only, so that every Go can build it.
package main

import (
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reqscope.test/servers/common"
)

// extra routes, by what this server is built with.
var extra = map[string]http.HandlerFunc{}

func counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != common.CountPath {
			common.CountOne()
		}
		next.ServeHTTP(w, r)
	})
}

func main() {
	common.StartWorkers()
	mux := http.NewServeMux()
	mux.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
		common.Answer(w, 200, common.Hello)
	})
	mux.HandleFunc("/users/", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/users/"))
		if id == 0 {
			http.NotFound(w, r)
			return
		}
		common.Answer(w, 200, common.NewUser(id))
	})
	mux.HandleFunc("/alloc", func(w http.ResponseWriter, r *http.Request) {
		common.Answer(w, 200, common.Allocate(common.Number(r, "kb")))
	})
	mux.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) {
		ms := common.Number(r, "ms")
		time.Sleep(time.Duration(ms) * time.Millisecond)
		common.Answer(w, 200, map[string]int{"slept": ms})
	})
	mux.HandleFunc("/db", func(w http.ResponseWriter, r *http.Request) {
		row, err := common.UpstreamRow(common.Number(r, "ms"))
		if err != nil {
			http.Error(w, "no upstream", http.StatusBadGateway)
			return
		}
		common.Answer(w, 200, map[string]any{"row": row})
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		io.Copy(w, r.Body)
	})
	// net/http's own way to end a request without an answer: the connection is closed.
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, work := range common.Works {
		work := work
		mux.HandleFunc(work.Path, func(w http.ResponseWriter, r *http.Request) {
			work.Do(common.Number(r, work.Parameter))
			common.Answer(w, 200, common.Hello)
		})
	}
	for path, handler := range common.Handlers {
		mux.HandleFunc(path, handler)
	}
	for path, handler := range extra {
		mux.HandleFunc(path, handler)
	}
	mux.HandleFunc(common.CountPath, func(w http.ResponseWriter, r *http.Request) {
		common.Answer(w, 200, map[string]int64{"count": common.Count()})
	})
	log.Fatal(http.ListenAndServe(common.Address(), counted(mux)))
}
