package v2

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// keysPath is where nodes are.
const keysPath = "/v2/keys"

// call is a request for nodes.
type call struct {
	method string
	path   string // clean, with a leading slash

	value                                        string
	dir, recursive, sorted, quorum, wait, stream bool
	noValue                                      bool // a short answer is wanted
	refresh                                      bool
	ttl                                          *uint64 // seconds
	prevExist                                    *bool
	prevValue                                    string // no condition if empty
	prevIndex, waitIndex                         uint64
}

// conditional reports whether the present value or index decides.
func (c *call) conditional() bool { return c.prevValue != "" || c.prevIndex != 0 }

// parse reads a request. The order of the checks can be seen by clients: only the first failure is told.
func parse(r *http.Request) (*call, *refusal) {
	if err := r.ParseForm(); err != nil {
		return nil, refuse(codeInvalidForm, err.Error())
	}
	rest, ok := strings.CutPrefix(r.URL.Path, keysPath)
	if !ok {
		return nil, refuse(codeInvalidForm, "incorrect key prefix")
	}
	c := &call{method: r.Method, path: path.Clean("/" + rest), value: r.Form.Get("value")}
	f := form{values: r.Form}
	c.prevIndex, c.waitIndex = f.number("prevIndex"), f.number("waitIndex")
	for _, one := range []struct {
		name string
		to   *bool
	}{{"recursive", &c.recursive}, {"sorted", &c.sorted}, {"wait", &c.wait}, {"dir", &c.dir}, {"quorum", &c.quorum}, {"stream", &c.stream}} {
		*one.to = f.flag(one.name, `"`)
	}
	if c.wait && r.Method != http.MethodGet {
		f.fail(codeInvalidField, `"wait" can only be used with GET requests`)
	}
	if given := r.Form["prevValue"]; len(given) > 0 && given[0] == "" {
		f.fail(codePrevValueEmpty, `"prevValue" cannot be empty`)
	}
	c.prevValue = r.Form.Get("prevValue")
	c.noValue = f.flag("noValueOnSuccess", `"`)
	c.ttl = f.ttl()
	if f.has("prevExist") {
		exist := f.flag("prevExist", "")
		c.prevExist = &exist
	}
	c.refresh = f.flag("refresh", "")
	f.checkRefresh(c)
	return c, f.err
}

// form reads fields until one is wrong.
type form struct {
	values url.Values
	err    *refusal
}

func (f *form) fail(code int, cause string) {
	if f.err == nil {
		f.err = refuse(code, cause)
	}
}

func (f *form) has(name string) bool { return len(f.values[name]) > 0 }

// number reads an index; 0 if there is none.
func (f *form) number(name string) uint64 {
	if !f.has(name) {
		return 0
	}
	n, err := strconv.ParseUint(f.values.Get(name), 10, 64)
	if err != nil {
		f.fail(codeIndexNotNumber, `invalid value for "`+name+`"`)
	}
	return n
}

// flag reads a boolean, false if there is none. quote is what stands around its name in an error.
func (f *form) flag(name, quote string) bool {
	if !f.has(name) {
		return false
	}
	b, err := strconv.ParseBool(f.values.Get(name))
	if err != nil {
		f.fail(codeInvalidField, "invalid value for "+quote+name+quote)
	}
	return b
}

// maxTTL is the longest time to live in seconds that fits in a lease's id for a century to come.
const maxTTL = 5_000_000_000

func (f *form) ttl() *uint64 {
	text := f.values.Get("ttl")
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > maxTTL {
		f.fail(codeTTLNotNumber, `invalid value for "ttl"`)
		return nil
	}
	return &n
}

func (f *form) checkRefresh(c *call) {
	switch {
	case !c.refresh:
	case c.value != "":
		f.fail(codeRefreshValue, "A value was provided on a refresh")
	case c.ttl == nil:
		f.fail(codeRefreshTTL, "No TTL value set")
	}
}
