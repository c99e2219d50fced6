// Command login runs the shop's login service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/login"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("login", login.New) }
