package request

import (
	"fmt"
	"testing"
)

// TestFieldNames: requests about users and roles are called what their types are; nothing else is about users.
func TestFieldNames(t *testing.T) {
	users := 0
	for f := range FieldDowngradeVersionTest + 1 {
		r := New(f)
		if r == nil {
			continue
		}
		if !f.AboutUsers() {
			if f >= FieldAuthEnable && f < FieldClusterVersionSet {
				t.Errorf("%d is not about users", f)
			}
			continue
		}
		users++
		if got, want := "*request."+f.String(), fmt.Sprintf("%T", r); got != want {
			t.Errorf("%d is called %s, want %s", f, got, want)
		}
	}
	if users != 17 {
		t.Errorf("%d requests are about users", users)
	}
}
