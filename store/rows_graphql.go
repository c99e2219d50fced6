package store

import (
	"unicode/utf8"

	"github.com/devloop-io/devloop/traffic"
)

// graphqlRow has the columns of GraphQL calls.
type graphqlRow struct {
	HasGQL       bool   `parquet:"gql"`
	GQLOperation string `parquet:"gql_operation,dict"`
	GQLName      string `parquet:"gql_operation_name,dict"`
	GQLFields    string `parquet:"gql_fields,dict"` // JSON list
	GQLQuery     string `parquet:"gql_query,dict"`
	GQLVariables string `parquet:"gql_variables"`
	GQLHash      string `parquet:"gql_hash,dict"`
	GQLBatch     string `parquet:"gql_batch"`       // JSON list of the operations behind the first
	GQLErrors    string `parquet:"gql_errors,dict"` // JSON list of {message, path, code}
	GQLErrorsCut bool   `parquet:"gql_errors_cut"`
	GQLMessage   string `parquet:"gql_message,dict"`
	GQLMessageID string `parquet:"gql_message_id"`
}

func graphqlToRow(g *traffic.GraphQL) graphqlRow {
	if g == nil {
		return graphqlRow{}
	}
	return graphqlRow{
		HasGQL: true, GQLOperation: g.Operation, GQLName: g.Name, GQLFields: listJSON(g.Fields), GQLQuery: g.Query, GQLVariables: g.Variables, GQLHash: g.Hash,
		GQLBatch: listJSON(g.Batch), GQLErrors: listJSON(g.Errors), GQLErrorsCut: g.ErrorsCut, GQLMessage: g.Message, GQLMessageID: g.MessageID,
	}
}

func (r *graphqlRow) graphql() (*traffic.GraphQL, error) {
	if !r.HasGQL {
		return nil, nil
	}
	g := &traffic.GraphQL{ErrorsCut: r.GQLErrorsCut, Message: r.GQLMessage, MessageID: r.GQLMessageID}
	g.Operation, g.Name, g.Query, g.Variables, g.Hash = r.GQLOperation, r.GQLName, r.GQLQuery, r.GQLVariables, r.GQLHash
	err := fromJSON(r.GQLFields, &g.Fields)
	if err == nil {
		err = fromJSON(r.GQLBatch, &g.Batch)
	}
	if err == nil {
		err = fromJSON(r.GQLErrors, &g.Errors)
	}
	return g, err
}

// texts are the columns that hold what came off the wire.
func (r *graphqlRow) texts() []*string {
	return []*string{&r.GQLName, &r.GQLQuery, &r.GQLVariables, &r.GQLHash, &r.GQLMessage, &r.GQLMessageID}
}

// graphqlIsText reports whether what came off the wire is UTF-8: JSON was made so on reading, URLs and plain documents were not.
func graphqlIsText(g *traffic.GraphQL) bool {
	if g == nil {
		return true
	}
	for _, s := range append([]string{g.Name, g.Query, g.Variables, g.Hash}, g.Fields...) {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return true
}
