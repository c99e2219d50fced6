// Package orders is the service that writes orders down, in PostgreSQL, and says over gRPC what is in stock.
//
// It trusts who reaches it and does not check the token itself, so a caller that forgets the token goes unnoticed here.
package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"

	"github.com/devloop-io/devloop/examples/shop/internal/database"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
	"github.com/devloop-io/devloop/examples/shop/internal/stock"
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
	db       *pgxpool.Pool
	recorded atomic.Int64
}

// New makes the service: it creates its tables.
func New(ctx context.Context, s *shop.Service) (http.Handler, error) {
	db, err := database.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(ctx, database.CreateOrders); err != nil {
		return nil, fmt.Errorf("create the orders table: %w", err)
	}
	if err := database.Stockpile(ctx, db); err != nil {
		return nil, err
	}
	o := &orders{Service: s, db: db}
	calls := grpc.NewServer()
	stock.Register(calls, &warehouse{orders: o})
	mux := http.NewServeMux()
	mux.Handle("POST "+stock.CheckMethod, calls)
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
	if o.Fault("sql-slow") && o.recorded.Add(1)%3 == 0 { // an index that nobody created
		if _, err := o.db.Exec(r.Context(), database.Sleep, o.Scale(150*time.Millisecond).Seconds()); err != nil {
			return nil, fmt.Errorf("record order %s: %w", order.ID, err)
		}
	}
	if o.Fault("sql-error") { // "it is idempotent": written twice, and the database's complaint ignored
		_, err := o.db.Exec(r.Context(), database.InsertOrderAgain, order.args()...)
		o.Log.Debug("order written again", "order", order.ID, "error", err)
	}
	return shop.Answer{Status: http.StatusCreated, Body: order}, nil
}

func (o *orders) insert(ctx context.Context, order Order) error {
	args := order.args()
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

// args are the order as the parameters of its statement.
func (o Order) args() []any { return []any{o.ID, o.Cart, int32(o.Total), o.Charge} }

func (o *orders) show(r *http.Request) (any, error) {
	order := Order{ID: r.PathValue("id")}
	err := o.db.QueryRow(r.Context(), database.SelectOrder, order.ID).Scan(&order.Cart, &order.Total, &order.Charge)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, shop.Fail(http.StatusNotFound, "no order %s", order.ID)
	}
	return order, err
}
