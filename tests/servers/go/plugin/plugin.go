// A plugin of the net/http test server: package main as plugins must be.
package main

import (
	"net/http"

	"reqscope.test/servers/common"
)

// Serve allocates k slices, as /slices does in the server itself.
func Serve(w http.ResponseWriter, r *http.Request) {
	common.Slices(common.Number(r, "k"))
	common.Answer(w, 200, common.Hello)
}

func main() {}
