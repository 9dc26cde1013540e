// The Echo test server. Usage: echo PORT
package main

import (
	"log"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"reqscope.test/servers/common"
	"reqscope.test/servers/websocket"
)

func number(c echo.Context, name string) int {
	n, _ := strconv.Atoi(c.QueryParam(name))
	return n
}

func counted(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().URL.Path != common.CountPath {
			common.CountOne()
		}
		return next(c)
	}
}

func main() {
	common.StartWorkers()
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Use(counted)
	e.GET("/json", func(c echo.Context) error { return c.JSON(http.StatusOK, common.Hello) })
	e.GET("/users/:id", func(c echo.Context) error {
		id, _ := strconv.Atoi(c.Param("id"))
		if id == 0 {
			return echo.NewHTTPError(http.StatusNotFound, "no such user")
		}
		return c.JSON(http.StatusOK, common.NewUser(id))
	})
	e.GET("/alloc", func(c echo.Context) error { return c.JSON(http.StatusOK, common.Allocate(number(c, "kb"))) })
	e.GET("/sleep", func(c echo.Context) error {
		time.Sleep(time.Duration(number(c, "ms")) * time.Millisecond)
		return c.JSON(http.StatusOK, echo.Map{"slept": number(c, "ms")})
	})
	e.GET("/db", func(c echo.Context) error {
		row, err := common.UpstreamRow(number(c, "ms"))
		if err != nil {
			return echo.NewHTTPError(http.StatusBadGateway, "no upstream")
		}
		return c.JSON(http.StatusOK, echo.Map{"row": row})
	})
	e.POST("/echo", func(c echo.Context) error {
		return c.Stream(http.StatusOK, c.Request().Header.Get("Content-Type"), c.Request().Body)
	})
	for _, work := range common.Works {
		e.GET(work.Path, func(c echo.Context) error {
			work.Do(number(c, work.Parameter))
			return c.JSON(http.StatusOK, common.Hello)
		})
	}
	for path, handler := range common.Handlers {
		e.GET(path, echo.WrapHandler(handler))
	}
	e.GET("/websocket", echo.WrapHandler(http.HandlerFunc(websocket.Echo)))
	e.GET(common.CountPath, func(c echo.Context) error {
		return c.JSON(http.StatusOK, echo.Map{"count": common.Count()})
	})
	log.Fatal(e.Start(common.Address()))
}
