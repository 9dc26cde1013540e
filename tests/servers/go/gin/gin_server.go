// The Gin test server. Usage: gin PORT
package main

import (
	"io"
	"log"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"reqscope.test/servers/common"
	"reqscope.test/servers/websocket"
)

func number(c *gin.Context, name string) int {
	n, _ := strconv.Atoi(c.Query(name))
	return n
}

func main() {
	common.StartWorkers()
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.Recovery(), func(c *gin.Context) {
		if c.Request.URL.Path != common.CountPath {
			common.CountOne()
		}
	})
	r.GET("/json", func(c *gin.Context) { c.JSON(http.StatusOK, common.Hello) })
	r.GET("/users/:id", func(c *gin.Context) {
		id, _ := strconv.Atoi(c.Param("id"))
		if id == 0 {
			c.JSON(http.StatusNotFound, gin.H{"error": "no such user"})
			return
		}
		c.JSON(http.StatusOK, common.NewUser(id))
	})
	r.GET("/alloc", func(c *gin.Context) { c.JSON(http.StatusOK, common.Allocate(number(c, "kb"))) })
	r.GET("/sleep", func(c *gin.Context) {
		time.Sleep(time.Duration(number(c, "ms")) * time.Millisecond)
		c.JSON(http.StatusOK, gin.H{"slept": number(c, "ms")})
	})
	r.GET("/db", func(c *gin.Context) {
		row, err := common.UpstreamRow(number(c, "ms"))
		if err != nil {
			c.JSON(http.StatusBadGateway, gin.H{"error": "no upstream"})
			return
		}
		c.JSON(http.StatusOK, gin.H{"row": row})
	})
	r.POST("/echo", func(c *gin.Context) {
		body, err := io.ReadAll(c.Request.Body)
		if err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.Data(http.StatusOK, c.ContentType(), body)
	})
	for _, work := range common.Works {
		r.GET(work.Path, func(c *gin.Context) {
			work.Do(number(c, work.Parameter))
			c.JSON(http.StatusOK, common.Hello)
		})
	}
	for path, handler := range common.Handlers {
		r.GET(path, gin.WrapF(handler))
	}
	r.GET("/websocket", gin.WrapF(websocket.Echo))
	r.GET(common.CountPath, func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"count": common.Count()}) })
	log.Fatal(r.Run(common.Address()))
}
