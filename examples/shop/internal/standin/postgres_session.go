package standin

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// session is one client's side of the extended protocol: what it prepared, and what it has bound.
type session struct {
	server   *Postgres
	b        *pgproto3.Backend
	types    *pgtype.Map
	prepared map[string]*statement
	bound    *statement
	args     []any
	formats  []int16
	failed   bool // until the next Sync
}

// receive answers one message; false ends the conversation.
func (s *session) receive(message pgproto3.FrontendMessage) bool {
	switch m := message.(type) {
	case *pgproto3.Terminate:
		return false
	case *pgproto3.Sync:
		s.failed = false
		s.b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		return true
	case *pgproto3.Flush:
		return true
	case *pgproto3.Query:
		if err := s.simple(m.String); err != nil {
			s.fail(err)
		}
		s.failed = false
		s.b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		return true
	}
	if !s.failed {
		if err := s.extended(message); err != nil {
			s.fail(err)
		}
	}
	return true
}

func (s *session) fail(err error) {
	s.failed = true
	s.b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: stateOf(err), Message: err.Error()})
}

// stateOf is an error's SQLSTATE: that the stand-in does not support what was asked, unless the error says otherwise.
func stateOf(err error) string {
	if e := (*sqlError)(nil); errors.As(err, &e) {
		return e.state
	}
	return "0A000"
}

func (s *session) simple(sql string) error {
	st, err := s.lookUp(sql)
	if err != nil {
		return err
	}
	if len(st.params) > 0 {
		return fmt.Errorf("the stand-in wants this statement prepared: %q", sql)
	}
	s.bound, s.args, s.formats = st, nil, nil
	if len(st.columns) > 0 {
		s.b.Send(st.description(nil))
	}
	return s.execute()
}

func (s *session) extended(message pgproto3.FrontendMessage) error {
	switch m := message.(type) {
	case *pgproto3.Parse:
		st, err := s.lookUp(m.Query)
		if err != nil {
			return err
		}
		s.prepared[m.Name] = st
		s.b.Send(&pgproto3.ParseComplete{})
	case *pgproto3.Describe:
		return s.describe(m)
	case *pgproto3.Bind:
		return s.bind(m)
	case *pgproto3.Execute:
		return s.execute()
	case *pgproto3.Close:
		if m.ObjectType == 'S' {
			delete(s.prepared, m.Name)
		}
		s.b.Send(&pgproto3.CloseComplete{})
	default:
		return fmt.Errorf("the stand-in does not know %T", message)
	}
	return nil
}

func (s *session) lookUp(sql string) (*statement, error) {
	st, ok := s.server.statement(sql)
	if !ok {
		return nil, fmt.Errorf("the devloop stand-in does not know the statement %q", sql)
	}
	st.sql = sql
	return st, nil
}

func (s *session) describe(m *pgproto3.Describe) error {
	st := s.bound
	if m.ObjectType == 'S' {
		st = s.prepared[m.Name]
	}
	if st == nil {
		return fmt.Errorf("nothing is prepared as %q", m.Name)
	}
	if m.ObjectType == 'S' {
		s.b.Send(&pgproto3.ParameterDescription{ParameterOIDs: st.params})
	}
	if len(st.columns) == 0 {
		s.b.Send(&pgproto3.NoData{})
		return nil
	}
	s.b.Send(st.description(s.formats))
	return nil
}

func (st *statement) description(formats []int16) *pgproto3.RowDescription {
	d := &pgproto3.RowDescription{}
	for i, c := range st.columns {
		d.Fields = append(d.Fields, pgproto3.FieldDescription{
			Name: []byte(c.name), DataTypeOID: c.oid, DataTypeSize: -1, TypeModifier: -1, Format: format(formats, i),
		})
	}
	return d
}

// format is the code of the i-th value: none given is text, one given stands for all.
func format(codes []int16, i int) int16 {
	switch {
	case len(codes) == 1:
		return codes[0]
	case i < len(codes):
		return codes[i]
	}
	return pgtype.TextFormatCode
}

func (s *session) bind(m *pgproto3.Bind) error {
	st := s.prepared[m.PreparedStatement]
	if st == nil || len(m.Parameters) != len(st.params) {
		return fmt.Errorf("%d parameters do not fit %q", len(m.Parameters), m.PreparedStatement)
	}
	args := make([]any, len(st.params))
	for i, raw := range m.Parameters {
		var err error
		if args[i], err = s.decode(st.params[i], format(m.ParameterFormatCodes, i), raw); err != nil {
			return fmt.Errorf("read parameter %d: %w", i+1, err)
		}
	}
	s.bound, s.args, s.formats = st, args, append([]int16(nil), m.ResultFormatCodes...)
	s.b.Send(&pgproto3.BindComplete{})
	return nil
}

func (s *session) decode(oid uint32, format int16, raw []byte) (any, error) {
	switch oid {
	case int4:
		var n int32
		err := s.types.Scan(oid, format, raw, &n)
		return n, err
	case int4s:
		var list []int32
		err := s.types.Scan(oid, format, raw, &list)
		return list, err
	case float8:
		var f float64
		err := s.types.Scan(oid, format, raw, &f)
		return f, err
	}
	var t string
	err := s.types.Scan(oid, format, raw, &t)
	return t, err
}

// run runs what is bound.
func (s *session) run() (rows [][]any, tag string, err error) {
	ran := Execution{SQL: s.bound.sql, Start: time.Now()}
	if s.bound.wait != nil {
		time.Sleep(s.bound.wait(s.args))
	}
	s.server.mu.Lock()
	if s.bound.refuse != nil {
		err = s.bound.refuse(s.args)
	}
	if err == nil {
		rows, tag = s.bound.run(s.args)
	}
	s.server.mu.Unlock()
	if err != nil {
		ran.SQLState = stateOf(err)
	}
	if ran.End = time.Now(); s.server.Executed != nil {
		s.server.Executed(ran)
	}
	return rows, tag, err
}

func (s *session) execute() error {
	if s.bound == nil {
		return fmt.Errorf("nothing is bound")
	}
	rows, tag, err := s.run()
	if err != nil {
		return err
	}
	for _, row := range rows {
		values := make([][]byte, len(row))
		for i, v := range row {
			var err error
			if values[i], err = s.types.Encode(s.bound.columns[i].oid, format(s.formats, i), v, nil); err != nil {
				return fmt.Errorf("write column %s: %w", s.bound.columns[i].name, err)
			}
		}
		s.b.Send(&pgproto3.DataRow{Values: values})
	}
	if tag == "" {
		s.b.Send(&pgproto3.EmptyQueryResponse{})
		return nil
	}
	s.b.Send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
	return nil
}
