// The Fiber test server. Usage: fiber PORT; with PREFORK set, a process a CPU serves
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/gofiber/fiber/v2"

	"reqscope.test/servers/common"
)

// stream answers k chunks, one a write, ms milliseconds apart.
func stream(c *fiber.Ctx) error {
	k, ms := c.QueryInt("k"), c.QueryInt("ms")
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		for i := 0; i < k; i++ {
			fmt.Fprintf(w, "part %d\n", i)
			w.Flush()
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}
	})
	return nil
}

// upgrade leaves HTTP: from then on the connection's bytes come back as they are.
func upgrade(c *fiber.Ctx) error {
	c.Status(fiber.StatusSwitchingProtocols)
	c.Set(fiber.HeaderConnection, "Upgrade")
	c.Set(fiber.HeaderUpgrade, "echo")
	c.Context().Hijack(func(connection net.Conn) { io.Copy(connection, connection) })
	return nil
}

func main() {
	common.StartWorkers()
	app := fiber.New(fiber.Config{DisableStartupMessage: true, BodyLimit: 64 << 20, Prefork: os.Getenv("PREFORK") != ""})
	app.Use(func(c *fiber.Ctx) error {
		if c.Path() != common.CountPath {
			common.CountOne()
		}
		return c.Next()
	})
	app.Get("/json", func(c *fiber.Ctx) error { return c.JSON(common.Hello) })
	app.Get("/users/:id", func(c *fiber.Ctx) error {
		id, _ := c.ParamsInt("id")
		if id == 0 {
			return c.Status(fiber.StatusNotFound).JSON(fiber.Map{"error": "no such user"})
		}
		return c.JSON(common.NewUser(id))
	})
	app.Get("/alloc", func(c *fiber.Ctx) error { return c.JSON(common.Allocate(c.QueryInt("kb", 1))) })
	app.Get("/sleep", func(c *fiber.Ctx) error {
		time.Sleep(time.Duration(c.QueryInt("ms")) * time.Millisecond)
		return c.JSON(fiber.Map{"slept": c.QueryInt("ms")})
	})
	app.Get("/db", func(c *fiber.Ctx) error {
		row, err := common.UpstreamRow(c.QueryInt("ms"))
		if err != nil {
			return c.Status(fiber.StatusBadGateway).JSON(fiber.Map{"error": "no upstream"})
		}
		return c.JSON(fiber.Map{"row": row})
	})
	app.Post("/echo", func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, c.Get(fiber.HeaderContentType))
		return c.Send(c.Body())
	})
	for _, work := range common.Works {
		app.Get(work.Path, func(c *fiber.Ctx) error {
			work.Do(c.QueryInt(work.Parameter))
			return c.JSON(common.Hello)
		})
	}
	app.Get("/bytes", func(c *fiber.Ctx) error { return c.Send(make([]byte, c.QueryInt("n"))) })
	app.Get("/stream", stream)
	app.Get("/nothing", func(c *fiber.Ctx) error { return c.SendStatus(fiber.StatusNoContent) })
	app.Get("/memstats", func(c *fiber.Ctx) error { return c.JSON(common.ReadFigures()) })
	app.Get("/upgrade", upgrade)
	app.Get(common.CountPath, func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"count": common.Count()}) })
	log.Fatal(app.Listen(common.Address()))
}
