package servicetest

import (
	"context"

	"github.com/quoin-kv/quoin/internal/service"
)

// shownKey finds the credentials in the context of a call.
type shownKey struct{}

// As is the context of a call that shows credentials.
func As(ctx context.Context, c service.Credentials) context.Context {
	return context.WithValue(ctx, shownKey{}, c)
}

// shown reads what As has put into a context.
func shown(ctx context.Context) service.Credentials {
	c, _ := ctx.Value(shownKey{}).(service.Credentials)
	return c
}
