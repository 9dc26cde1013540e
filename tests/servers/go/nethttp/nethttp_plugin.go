//go:build plugin

package main

import (
	"log"
	"net/http"
	"os"
	"plugin"
)

// With the build tag `plugin`, the file that PLUGIN names serves /plugin.
func init() {
	opened, err := plugin.Open(os.Getenv("PLUGIN"))
	if err != nil {
		log.Fatal(err)
	}
	serve, err := opened.Lookup("Serve")
	if err != nil {
		log.Fatal(err)
	}
	extra["/plugin"] = serve.(func(http.ResponseWriter, *http.Request))
}
