package query

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/traffic"
)

// harCalls writes HTTP Archives, version 1.2 (http://www.softwareishard.com/blog/har-12-spec/). Only HTTP calls have a place
// in them.
type harCalls struct {
	w    io.Writer
	more bool
}

func (x *harCalls) begin() error {
	creator, err := json.Marshal(map[string]string{"name": "devloop", "version": buildinfo.Version()})
	if err != nil {
		return err
	}
	_, err = io.WriteString(x.w, `{"log":{"version":"1.2","creator":`+string(creator)+`,"pages":[],"entries":[`)
	return err
}

func (x *harCalls) call(c *traffic.Call) (bool, error) {
	if c.HTTP == nil || !c.Asked() {
		return false, nil
	}
	b, err := json.Marshal(harEntryOf(c))
	if err != nil {
		return false, err
	}
	if x.more {
		b = append([]byte(",\n"), b...)
	}
	x.more = true
	_, err = x.w.Write(b)
	return true, err
}

func (x *harCalls) end() error {
	_, err := io.WriteString(x.w, "]}}\n")
	return err
}

type harEntry struct {
	Started    string      `json:"startedDateTime"`
	Time       float64     `json:"time"`
	Request    harRequest  `json:"request"`
	Response   harResponse `json:"response"`
	Cache      struct{}    `json:"cache"`
	Timings    harTimings  `json:"timings"`
	ServerIP   string      `json:"serverIPAddress,omitempty"`
	Connection string      `json:"connection,omitempty"`
	Comment    string      `json:"comment,omitempty"`
}

type harRequest struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	HTTPVersion string    `json:"httpVersion"`
	Cookies     []harPair `json:"cookies"`
	Headers     []harPair `json:"headers"`
	QueryString []harPair `json:"queryString"`
	PostData    *harPost  `json:"postData,omitempty"`
	HeadersSize int       `json:"headersSize"`
	BodySize    int64     `json:"bodySize"`
}

type harResponse struct {
	Status      int        `json:"status"`
	StatusText  string     `json:"statusText"`
	HTTPVersion string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	Content     harContent `json:"content"`
	RedirectURL string     `json:"redirectURL"`
	HeadersSize int        `json:"headersSize"`
	BodySize    int64      `json:"bodySize"`
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type harPost struct {
	MimeType string    `json:"mimeType"`
	Params   []harPair `json:"params"`
	Text     string    `json:"text"`
	Comment  string    `json:"comment,omitempty"`
}

type harContent struct {
	Size     int    `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Encoding string `json:"encoding,omitempty"`
	Comment  string `json:"comment,omitempty"`
}

type harTimings struct {
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

func harEntryOf(c *traffic.Call) harEntry {
	h := c.HTTP
	scheme := "http"
	if c.CaptureSource == traffic.SourceTLSKeyLog {
		scheme = "https"
	}
	target := scheme + "://" + cmp.Or(h.Host, c.Dst.Addr().String()) + c.Path
	if h.Query != "" {
		target += "?" + h.Query
	}
	version := "HTTP/" + cmp.Or(h.Version, "1.1")
	e := harEntry{
		Started: time.Unix(0, c.Start).UTC().Format("2006-01-02T15:04:05.000000Z07:00"), Time: ms(max(c.Latency(), c.End-c.Start, 0)),
		Request: harRequest{Method: c.Method, URL: target, HTTPVersion: version, Cookies: cookies(h.RequestHeaders, "cookie"), Headers: pairs(h.RequestHeaders),
			QueryString: queryPairs(h.Query), HeadersSize: sizeOr(h.RequestHeadersSize), BodySize: c.RequestSize},
		Response: harResponse{HTTPVersion: version, Cookies: cookies(h.ResponseHeaders, "set-cookie"), Headers: pairs(h.ResponseHeaders), HeadersSize: -1, BodySize: -1},
		ServerIP: c.Dst.IP.Unmap().String(), Connection: c.ID[:max(0, strings.LastIndexByte(c.ID, '/'))], Comment: nameOf(&c.Src) + " → " + nameOf(&c.Dst) + " " + c.ID,
	}
	if len(h.RequestBody) > 0 {
		e.Request.PostData = &harPost{MimeType: headerOf(h.RequestHeaders, "content-type"), Params: []harPair{}, Text: strings.ToValidUTF8(string(h.RequestBody), "�"), Comment: cutNote(h.RequestBodyCut)}
	}
	if c.Answered() {
		e.Response.Status, e.Response.StatusText, e.Response.HeadersSize, e.Response.BodySize = c.Status, h.Reason, sizeOr(h.ResponseHeadersSize), c.ResponseSize
		e.Response.RedirectURL = headerOf(h.ResponseHeaders, "location")
		e.Response.Content = harContent{Size: len(h.ResponseBody), MimeType: headerOf(h.ResponseHeaders, "content-type"), Text: string(h.ResponseBody), Comment: cutNote(h.ResponseBodyCut)}
		if !utf8.Valid(h.ResponseBody) {
			e.Response.Content.Text, e.Response.Content.Encoding = base64.StdEncoding.EncodeToString(h.ResponseBody), "base64"
		}
		e.Timings = harTimings{Send: ms(max(0, c.RequestEnd-c.Start)), Wait: ms(max(0, c.ResponseStart-c.RequestEnd)), Receive: ms(max(0, c.End-c.ResponseStart))}
	} else {
		e.Comment += ": no answer, " + cmp.Or(c.Error, string(c.State))
		e.Timings = harTimings{Send: ms(max(0, c.RequestEnd-c.Start)), Wait: ms(max(0, c.End-c.RequestEnd))}
	}
	return e
}

func cutNote(cut bool) string {
	if cut {
		return "cut: the dissector keeps the beginning of long bodies"
	}
	return ""
}

// sizeOr is -1 for what is not known.
func sizeOr(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func pairs(headers []traffic.Header) []harPair {
	list := make([]harPair, len(headers))
	for i, h := range headers {
		list[i] = harPair(h)
	}
	return list
}

func headerOf(headers []traffic.Header, name string) string {
	for _, h := range headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func cookies(headers []traffic.Header, name string) []harPair {
	list := []harPair{}
	for _, h := range headers {
		if !strings.EqualFold(h.Name, name) {
			continue
		}
		parts := strings.Split(h.Value, ";")
		if name == "set-cookie" {
			parts = parts[:1]
		}
		for _, p := range parts {
			if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok {
				list = append(list, harPair{k, v})
			}
		}
	}
	return list
}

// queryPairs are the parameters in the order in which they were sent.
func queryPairs(query string) []harPair {
	list := []harPair{}
	for p := range strings.SplitSeq(query, "&") {
		if p == "" {
			continue
		}
		k, v, _ := strings.Cut(p, "=")
		list = append(list, harPair{unescaped(k), unescaped(v)})
	}
	return list
}

func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
