package filter

import (
	"strings"

	"cel.dev/cel-go/cel"
)

// dissected are the L7 protocols that calls are made of today. The flags of all others are constant false, and their
// fields hold defaults, so that filters from elsewhere compile.
var dissected = []string{"http", "dns", "tls", "redis", "postgresql", "ws"}

// stubSections are the variables of KFL2 for protocols that are not dissected yet.
func stubSections() []section {
	return []section{
		protocol("Kafka", "kafka", "i:kafka_api_key s:kafka_api_key_name s:kafka_client_id s:kafka_request_summary b:kafka_request b:kafka_response "+
			"i:kafka_size i:kafka_request_size i:kafka_response_size"),
		protocol("AMQP", "amqp", "s:amqp_method s:amqp_summary b:amqp_request b:amqp_response i:amqp_request_length i:amqp_response_length i:amqp_total_size"),
		protocol("LDAP", "ldap", "s:ldap_type s:ldap_summary b:ldap_request b:ldap_response i:ldap_request_length i:ldap_response_length i:ldap_total_size"),
		protocol("RADIUS", "radius", "i:radius_code s:radius_code_name s:radius_request_authenticator b:radius_request b:radius_response "+
			"i:radius_request_length i:radius_response_length i:radius_total_size"),
		protocol("Diameter", "diameter", "s:diameter_method s:diameter_summary b:diameter_request b:diameter_response i:diameter_request_length "+
			"i:diameter_response_length i:diameter_total_size"),
		protocol("MongoDB", "mongodb", "s:mongodb_command s:mongodb_database s:mongodb_collection s:mongodb_opcode b:mongodb_success i:mongodb_error_code "+
			"s:mongodb_error_message s:mongodb_error_code_name i:mongodb_request_size i:mongodb_response_size i:mongodb_total_size"),
		protocol("MySQL", "mysql", "s:mysql_command s:mysql_query s:mysql_database i:mysql_statement_id b:mysql_success i:mysql_error_code "+
			"s:mysql_error_message i:mysql_request_size i:mysql_response_size i:mysql_total_size"),
		protocol("ICMP", "icmp", "s:icmp_type i:icmp_version i:icmp_length"),
		protocol("SCTP", "sctp", "i:sctp_checksum i:sctp_length s:sctp_chunk_type"),
	}
}

// protocol makes the fields of a protocol that is not dissected yet, from "type:name" words.
func protocol(title, flags, fields string) section {
	s := section{name: title + " (not dissected yet)", rows: Calls, applies: func(*Row) bool { return false }}
	for _, name := range strings.Fields(flags) {
		f := flag(Field{Name: name, Doc: "a " + title + " call: always false until " + title + " is dissected", Stub: true, Example: name},
			onRow(func(*Row) bool { return false }))
		s.fields = append(s.fields, f)
	}
	kinds := map[string]*cel.Type{"s": stringType, "i": intType, "b": boolType}
	for _, word := range strings.Fields(fields) {
		kind, name, _ := strings.Cut(word, ":")
		f := stub(name, kinds[kind], strings.ReplaceAll(strings.TrimPrefix(name, strings.Fields(flags)[0]+"_"), "_", " ")+" of a "+title+" call")
		f.Example = strings.Fields(flags)[0] + " && has(" + name + ")"
		s.fields = append(s.fields, f)
	}
	return s
}
