// Package stock is the gRPC service shop.v1.Stock, for those who serve it and those who call it: messages made from
// stock.proto, and beside them the few lines that bind them to gRPC.
package stock

//go:generate go run generate.go
