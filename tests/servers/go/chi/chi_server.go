// The chi test server. Usage: chi PORT
package main

import (
	"io"
	"log"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"reqscope.test/servers/common"
	"reqscope.test/servers/websocket"
)

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
	r := chi.NewRouter()
	r.Use(counted)
	r.Get("/json", func(w http.ResponseWriter, r *http.Request) { common.Answer(w, 200, common.Hello) })
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(chi.URLParam(r, "id"))
		if id == 0 {
			http.NotFound(w, r)
			return
		}
		common.Answer(w, 200, common.NewUser(id))
	})
	r.Get("/alloc", func(w http.ResponseWriter, r *http.Request) {
		common.Answer(w, 200, common.Allocate(common.Number(r, "kb")))
	})
	r.Get("/sleep", func(w http.ResponseWriter, r *http.Request) {
		ms := common.Number(r, "ms")
		time.Sleep(time.Duration(ms) * time.Millisecond)
		common.Answer(w, 200, map[string]int{"slept": ms})
	})
	r.Get("/db", func(w http.ResponseWriter, r *http.Request) {
		row, err := common.UpstreamRow(common.Number(r, "ms"))
		if err != nil {
			http.Error(w, "no upstream", http.StatusBadGateway)
			return
		}
		common.Answer(w, 200, map[string]any{"row": row})
	})
	r.Post("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		io.Copy(w, r.Body)
	})
	for _, work := range common.Works {
		r.Get(work.Path, func(w http.ResponseWriter, r *http.Request) {
			work.Do(common.Number(r, work.Parameter))
			common.Answer(w, 200, common.Hello)
		})
	}
	for path, handler := range common.Handlers {
		r.Get(path, handler)
	}
	r.Get("/websocket", websocket.Echo)
	r.Get(common.CountPath, func(w http.ResponseWriter, r *http.Request) {
		common.Answer(w, 200, map[string]int64{"count": common.Count()})
	})
	log.Fatal(http.ListenAndServe(common.Address(), r))
}
