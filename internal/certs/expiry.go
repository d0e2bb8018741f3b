package certs

import "time"

// Expiry is when the first of some certificates ends.
type Expiry struct {
	File string
	At   time.Time
}

// Expiry returns the function that tells which of this side's own certificates, with those that lead to their authorities, ends first, by
// what the files hold then. The zero Expiry means that there are none.
func (f Files) Expiry() func() (Expiry, error) {
	var all []*cached[Expiry]
	for _, path := range []string{f.Cert, f.ClientCert} {
		if path != "" {
			all = append(all, newCached(func() (Expiry, error) { return readExpiry(path) }, path))
		}
	}
	return func() (first Expiry, err error) {
		for _, one := range all {
			e, err := one.get()
			if err != nil {
				return Expiry{}, err
			}
			first = first.sooner(e)
		}
		return first, nil
	}
}

func readExpiry(path string) (first Expiry, err error) {
	list, err := readCertificates(path)
	for _, c := range list {
		first = first.sooner(Expiry{path, c.NotAfter})
	}
	return first, err
}

// sooner returns the one that ends first.
func (e Expiry) sooner(other Expiry) Expiry {
	if e.At.IsZero() || !other.At.IsZero() && other.At.Before(e.At) {
		return other
	}
	return e
}
