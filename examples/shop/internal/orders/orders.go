// Package orders is the service that writes orders down, in PostgreSQL.
//
// It trusts who reaches it and does not check the token itself, so a caller that forgets the token goes unnoticed here.
package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devloop-io/devloop/examples/shop/internal/database"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// Order is a cart that was bought.
type Order struct {
	ID     string `json:"order"`
	Cart   string `json:"cart"`
	Total  int    `json:"total"`  // in cents
	Charge string `json:"charge"` // the gateway's, or "pending"
}

type orders struct {
	*shop.Service
	db *pgxpool.Pool
}

// New makes the service: it creates its table.
func New(ctx context.Context, s *shop.Service) (http.Handler, error) {
	db, err := database.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(ctx, database.CreateOrders); err != nil {
		return nil, fmt.Errorf("create the orders table: %w", err)
	}
	o := &orders{Service: s, db: db}
	mux := http.NewServeMux()
	mux.Handle("POST /orders", shop.Handle(o.record))
	mux.Handle("GET /orders/{id}", shop.Handle(o.show))
	return mux, nil
}

func (o *orders) record(r *http.Request) (any, error) {
	var order Order
	if err := shop.Read(r, &order); err != nil {
		return nil, err
	}
	if err := o.insert(r.Context(), order); err != nil {
		return nil, fmt.Errorf("record order %s: %w", order.ID, err)
	}
	return shop.Answer{Status: http.StatusCreated, Body: order}, nil
}

func (o *orders) insert(ctx context.Context, order Order) error {
	args := []any{order.ID, order.Cart, int32(order.Total), order.Charge}
	if o.Fault("db-churn") {
		conn, err := pgx.ConnectConfig(ctx, o.db.Config().ConnConfig) // the pool forgotten
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, database.InsertOrder, args...)
		return err
	}
	_, err := o.db.Exec(ctx, database.InsertOrder, args...)
	return err
}

func (o *orders) show(r *http.Request) (any, error) {
	order := Order{ID: r.PathValue("id")}
	err := o.db.QueryRow(r.Context(), database.SelectOrder, order.ID).Scan(&order.Cart, &order.Total, &order.Charge)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, shop.Fail(http.StatusNotFound, "no order %s", order.ID)
	}
	return order, err
}
