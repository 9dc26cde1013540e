// Package websocket answers a WebSocket's messages with themselves.
package websocket

import (
	"net/http"

	"github.com/coder/websocket"
)

// Echo serves one WebSocket until its peer closes it.
func Echo(w http.ResponseWriter, r *http.Request) {
	connection, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer connection.CloseNow()
	for {
		kind, message, err := connection.Read(r.Context())
		if err != nil || connection.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}
