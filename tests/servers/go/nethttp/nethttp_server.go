// The net/http test server. Usage: nethttp PORT
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strconv"
	"time"

	"reqscope.test/servers/common"
)

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}

func counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != common.CountPath {
			common.Served.Add(1)
		}
		next.ServeHTTP(w, r)
	})
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /json", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, common.Hello)
	})
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(r.PathValue("id"))
		if id == 0 {
			http.NotFound(w, r)
			return
		}
		answer(w, 200, common.NewUser(id))
	})
	mux.HandleFunc("GET /alloc", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, common.Allocate(number(r, "kb")))
	})
	mux.HandleFunc("GET /sleep", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(number(r, "ms")) * time.Millisecond)
		answer(w, 200, map[string]int{"slept": number(r, "ms")})
	})
	mux.HandleFunc("GET /db", func(w http.ResponseWriter, r *http.Request) {
		row, err := common.UpstreamRow(number(r, "ms"))
		if err != nil {
			http.Error(w, "no upstream", http.StatusBadGateway)
			return
		}
		answer(w, 200, map[string]any{"row": row})
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("GET "+common.CountPath, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, map[string]int64{"count": common.Served.Load()})
	})
	log.Fatal(http.ListenAndServe(common.Address(), counted(mux)))
}
