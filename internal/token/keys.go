package token

import (
	"crypto"
	"fmt"
)

// comparableKey is a public key.
type comparableKey interface {
	Equal(other crypto.PublicKey) bool
}

// publicOf is the public key of a private one.
func publicOf(private any) (any, error) {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("priv-key is a %T, which cannot sign", private)
	}
	return signer.Public(), nil
}
