package membership

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// ParseURLs checks URLs that a member listens on or is reached at, and returns
// them trimmed and sorted. There has to be at least one; http and https URLs
// are scheme, host and port and nothing else.
func ParseURLs(texts []string) ([]string, error) {
	if len(texts) == 0 {
		return nil, errors.New("no valid URLs given")
	}
	urls := make([]string, len(texts))
	for i, text := range texts {
		u, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		urls[i] = u
	}
	slices.Sort(urls)
	return urls, nil
}

func parseURL(text string) (string, error) {
	text = strings.TrimSpace(text)
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	switch u.Scheme {
	case "http", "https":
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return "", fmt.Errorf(`URL address does not have the form "host:port": %s`, text)
		}
		if u.Path != "" {
			return "", fmt.Errorf("URL must not contain a path: %s", text)
		}
	case "unix", "unixs":
	default:
		return "", fmt.Errorf("URL scheme must be http, https, unix, or unixs: %s", text)
	}
	return u.String(), nil
}

// AddedURLs checks the peer URLs of a member that is to be added and returns
// them trimmed and sorted. Error: MemberBadURLs.
func AddedURLs(texts []string) ([]string, error) {
	urls, err := ParseURLs(texts)
	if err != nil {
		return nil, kverr.MemberBadURLs
	}
	return urls, nil
}
