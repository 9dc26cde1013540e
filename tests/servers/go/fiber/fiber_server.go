// The Fiber test server. Usage: fiber PORT
package main

import (
	"log"
	"time"

	"github.com/gofiber/fiber/v2"

	"reqscope.test/servers/common"
)

func main() {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, BodyLimit: 64 << 20})
	app.Use(func(c *fiber.Ctx) error {
		if c.Path() != common.CountPath {
			common.Served.Add(1)
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
	app.Get(common.CountPath, func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"count": common.Served.Load()}) })
	log.Fatal(app.Listen(common.Address()))
}
