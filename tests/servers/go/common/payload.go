// Package common holds what the Go test servers share: their bodies, their counter and their upstream.
package common

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// CountPath answers with Count and is not counted itself.
const CountPath = "/__count"

var served int64

// CountOne counts a request served by this process.
func CountOne() { atomic.AddInt64(&served, 1) }

// Count is how many there were.
func Count() int64 { return atomic.LoadInt64(&served) }

var bio = strings.Repeat("Writes about rivers, bridges and the towns between them. ", 14)

// Message is the body of /json.
type Message struct {
	Message string `json:"message"`
}

// Hello is what /json answers.
var Hello = Message{"Hello, World!"}

// User is about 1 KB as JSON.
type User struct {
	ID      int               `json:"id"`
	Name    string            `json:"name"`
	Email   string            `json:"email"`
	Roles   []string          `json:"roles"`
	Address map[string]string `json:"address"`
	Bio     string            `json:"bio"`
}

// NewUser makes the user that /users/{id} answers.
func NewUser(id int) User {
	return User{
		ID:    id,
		Name:  fmt.Sprintf("User %d", id),
		Email: fmt.Sprintf("user%d@example.com", id),
		Roles: []string{"reader", "author"},
		Address: map[string]string{
			"street": "1 Long Lane", "city": "Springfield", "postcode": "12345", "country": "XX",
		},
		Bio: bio,
	}
}

var block []byte

// Allocate allocates kb KiB on the heap: the assignment to a global keeps it from the stack.
func Allocate(kb int) map[string]int {
	block = make([]byte, kb*1024)
	return map[string]int{"kb": kb, "allocated": len(block)}
}

// Connections stay open, as a database's do, however many requests there are at once.
var client = http.Client{
	Timeout:   10 * time.Second,
	Transport: &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024},
}

// UpstreamRow asks the upstream, which answers after ms milliseconds.
func UpstreamRow(ms int) (map[string]any, error) {
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%s/sleep?ms=%d", os.Getenv("UPSTREAM"), ms))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	row := map[string]any{}
	return row, json.NewDecoder(response.Body).Decode(&row)
}

// Address is where the server named on the command line listens.
func Address() string {
	return "127.0.0.1:" + os.Args[1]
}
