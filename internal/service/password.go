package service

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/blowfish" //lint:ignore SA1019 it is what bcrypt is made of
)

// A password hash is bcrypt's: many milliseconds of nothing but computing, for as long as which the scheduler would let little else run where
// there are few processors. So it is computed in slices, and after each its processor is given away for longer than the slice took. Package
// bcrypt does the same work in one piece; tests hold the two against each other.

// hashesAtOnce is how many password hashes may be under way at a time.
func hashesAtOnce() int { return runtime.GOMAXPROCS(0) }

const (
	roundsAtOnce = 8 // rounds of a slice: half a millisecond
	restsFor     = 2 // slices, so that hashes take at most a third of the processors
)

// The parts of a hash as it is stored, $2a$<cost>$<salt><digest>.
const (
	saltBytes    = 16
	saltLetters  = 22
	digestBytes  = 23
	cipherRounds = 64
)

// maxPassword is how many bytes of a password count; longer ones are refused.
const maxPassword = 72

// errPasswordTooLong refuses a password that would be cut; the text is that of package bcrypt.
var errPasswordTooLong = errors.New("bcrypt: password length exceeds 72 bytes")

// hashEncoding is how salts and digests are written.
func hashEncoding() *base64.Encoding {
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return base64.NewEncoding(letters).WithPadding(base64.NoPadding)
}

// hashTurn waits until a password hash may be computed; done must be called afterwards.
func (s *Service) hashTurn(ctx context.Context) (done func(), err error) {
	if err := s.clock.Wait(ctx, s.access.hashing, -1); err != nil {
		return nil, err
	}
	return func() { s.access.hashing <- struct{}{} }, nil
}

// hash is what is stored of a password, as requests carry it.
func (s *Service) hash(ctx context.Context, password string) (string, error) {
	hash, err := s.newHash(ctx, password)
	return base64.StdEncoding.EncodeToString(hash), err
}

// newHash is the hash of a password with a new salt.
func (s *Service) newHash(ctx context.Context, password string) ([]byte, error) {
	if len(password) > maxPassword {
		return nil, errPasswordTooLong
	}
	cost := s.cfg.Access.BcryptCost
	if cost < bcrypt.MinCost {
		cost = bcrypt.DefaultCost
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	digest, err := s.digest(ctx, password, salt, cost)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "$2a$%02d$%s%s", cost, hashEncoding().EncodeToString(salt), hashEncoding().EncodeToString(digest)), nil
}

// isPassword reports whether hash is that of password. A hash that has not the form of one is nobody's.
func (s *Service) isPassword(ctx context.Context, hash []byte, password string) (bool, error) {
	cost, err := bcrypt.Cost(hash)
	parts := bytes.SplitN(hash, []byte("$"), 4)
	if err != nil || len(parts) < 4 || len(parts[3]) < saltLetters {
		return false, nil
	}
	salt, err := hashEncoding().DecodeString(string(parts[3][:saltLetters]))
	if err != nil {
		return false, nil
	}
	digest, err := s.digest(ctx, password, salt, cost)
	same := subtle.ConstantTimeCompare([]byte(hashEncoding().EncodeToString(digest)), parts[3][saltLetters:])
	return same == 1, err
}

// digest computes a hash's last part, when it is its turn.
func (s *Service) digest(ctx context.Context, password string, salt []byte, cost int) ([]byte, error) {
	done, err := s.hashTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	key := append([]byte(password), 0)
	cipher, err := blowfish.NewSaltedCipher(key, salt)
	if err != nil {
		return nil, err
	}
	start := s.clock.Now()
	for i := range uint64(1) << cost {
		blowfish.ExpandKey(key, cipher)
		blowfish.ExpandKey(salt, cipher)
		if i%roundsAtOnce != roundsAtOnce-1 {
			continue
		}
		if err := s.clock.Wait(ctx, nil, restsFor*s.clock.Now().Sub(start)); err != nil {
			return nil, err
		}
		start = s.clock.Now()
	}
	text := []byte("OrpheanBeholderScryDoubt")
	for block := text; len(block) > 0; block = block[blowfish.BlockSize:] {
		for range cipherRounds {
			cipher.Encrypt(block, block)
		}
	}
	return text[:digestBytes], nil
}
