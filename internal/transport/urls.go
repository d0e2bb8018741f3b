package transport

import (
	"fmt"
	"net/url"
	"slices"
	"sync"
)

// maxURLs bounds the URLs of a sender that is remembered.
const maxURLs = 16

// urlList is where a peer is reached. One URL is in use until it fails, then the next.
type urlList struct {
	mu struct {
		sync.Mutex
		list []string // never changed in place
		at   int      // index of the one in use
	}
}

func (u *urlList) set(list []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !slices.Equal(u.mu.list, list) {
		u.mu.list, u.mu.at = slices.Clone(list), 0
	}
}

func (u *urlList) all() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mu.list
}

// pick returns the URL in use.
func (u *urlList) pick() (*url.URL, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.mu.list) == 0 {
		return nil, fmt.Errorf("the peer has no URL")
	}
	parsed, err := parseURL(u.mu.list[u.mu.at])
	if err != nil {
		u.next()
	}
	return parsed, err
}

// failed turns to the next URL, unless somebody has already.
func (u *urlList) failed(bad *url.URL) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.mu.list) == 0 {
		return
	}
	if now, err := parseURL(u.mu.list[u.mu.at]); err != nil || *now == *bad {
		u.next()
	}
}

func (u *urlList) next() { u.mu.at = (u.mu.at + 1) % len(u.mu.list) }

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"http", "https", "unix", "unixs"}, u.Scheme) || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http, https, unix or unixs URL of a peer with a host", s)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}, nil
}
