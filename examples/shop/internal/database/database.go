// Package database holds what the shop says to PostgreSQL: every statement, the schema and the goods. The stand-in
// server answers these statements and no others.
package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// The statements of the shop.
const (
	CreateItems  = `create table if not exists items (id int primary key, name text not null, price int not null)`
	CreateOrders = `create table if not exists orders (id text primary key, cart text not null, total int not null, charge text not null)`
	InsertItem   = `insert into items (id, name, price) values ($1, $2, $3) on conflict (id) do nothing`
	SelectItems  = `select id, name, price from items order by id`
	InsertOrder  = `insert into orders (id, cart, total, charge) values ($1, $2, $3, $4) on conflict (id) do nothing`
	SelectOrder  = `select cart, total, charge from orders where id = $1`

	CreateStock       = `create table if not exists stock (item int primary key, pieces int not null)`
	InsertStock       = `insert into stock (item, pieces) values ($1, $2) on conflict (item) do nothing`
	SelectStock       = `select item from stock where item = any($1::int[]) and pieces > 0`
	SelectStockOfItem = `select item from stock where item = $1 and pieces > 0`
	InsertOrderAgain  = `insert into orders (id, cart, total, charge) values ($1, $2, $3, $4)`
	Sleep             = `select pg_sleep($1)`
)

// Item is one thing that the shop sells.
type Item struct {
	ID    int32  `json:"id"`
	Name  string `json:"name"`
	Price int32  `json:"price"` // in cents
}

// Goods are in the shop from the start.
var Goods = []Item{
	{1, "teapot", 1999}, {2, "kettle", 4950}, {3, "cup", 495}, {4, "saucer", 395}, {5, "strainer", 750},
	{6, "caddy", 1250}, {7, "tray", 2200}, {8, "cosy", 1800}, {9, "timer", 990}, {10, "scale", 2490},
}

// Open connects to the database of DATABASE_URL with a small pool, and waits for a server that is still starting.
func Open(ctx context.Context, s *shop.Service) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(s.Env("DATABASE_URL", "postgres://shop@catalogue-db:5432/shop?sslmode=disable"))
	if err != nil {
		return nil, fmt.Errorf("read DATABASE_URL: %w", err)
	}
	config.MaxConns = 4
	config.MaxConnLifetime = time.Hour
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := shop.Eventually(ctx, 20*time.Second, func() error { return pool.Ping(ctx) }); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach the database: %w", err)
	}
	context.AfterFunc(ctx, pool.Close)
	return pool, nil
}

// Seed creates the catalogue's table and fills it; doing so twice changes nothing.
func Seed(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, CreateItems); err != nil {
		return fmt.Errorf("create the items table: %w", err)
	}
	for _, item := range Goods {
		if _, err := pool.Exec(ctx, InsertItem, item.ID, item.Name, item.Price); err != nil {
			return fmt.Errorf("insert item %d: %w", item.ID, err)
		}
	}
	return nil
}

// Stockpile creates the warehouse's table and fills it; doing so twice changes nothing.
func Stockpile(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, CreateStock); err != nil {
		return fmt.Errorf("create the stock table: %w", err)
	}
	for _, item := range Goods {
		if _, err := pool.Exec(ctx, InsertStock, item.ID, int32(1000)); err != nil {
			return fmt.Errorf("insert the stock of item %d: %w", item.ID, err)
		}
	}
	return nil
}

// Items reads the whole catalogue.
func Items(ctx context.Context, pool *pgxpool.Pool) ([]Item, error) {
	rows, err := pool.Query(ctx, SelectItems)
	if err != nil {
		return nil, fmt.Errorf("select items: %w", err)
	}
	items, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Item])
	if err != nil {
		return nil, fmt.Errorf("read items: %w", err)
	}
	return items, nil
}
