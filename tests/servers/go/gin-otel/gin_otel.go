// The Gin test server with OpenTelemetry's middleware, for `make bench-peers`. Usage: gin-otel PORT
//
// A module of its own, so that what otelgin asks for changes nothing in the other servers.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/trace"

	"reqscope.test/servers/common"
)

// exportSpans sends spans to where OTEL_EXPORTER_OTLP_ENDPOINT says, in batches; what is left goes when the server is told to end.
func exportSpans() {
	exporter, err := otlptracehttp.New(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM)
	go func() {
		<-ending
		if err := provider.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
		os.Exit(0)
	}()
}

func main() {
	exportSpans()
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.Recovery(), otelgin.Middleware("gin"), func(*gin.Context) { common.CountOne() })
	r.GET("/users/:id", func(c *gin.Context) {
		id, _ := strconv.Atoi(c.Param("id"))
		c.JSON(http.StatusOK, common.NewUser(id))
	})
	log.Fatal(r.Run(common.Address()))
}
