package machine

import (
	"strconv"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/request"
)

// Session is a change of who is logged in: with a token, a login of the user; without one, all logins of the user are over, or, without a
// user, everybody's.
type Session struct{ User, Token string }

// mayApply decides whether the one who proposed a request may do what it asks for. Requests that members make for themselves are not
// looked at; those about leases and keys they make in the name of root.
func (a *apply) mayApply(in *request.Internal) error {
	who := auth.Identity{User: in.Header.Username, Revision: in.Header.AuthRevision}
	switch in.Request.(type) {
	case *request.Put, *request.DeleteRange, *request.Txn, *request.LeaseRevoke:
		return a.users.Admit(who, in.Request, a.attached)
	}
	if in.Field.AboutUsers() {
		return a.users.AdmitAuth(who, in.Request)
	}
	return nil
}

// auth carries out a request about users and roles.
func (a *apply) auth(r request.Request) {
	if a.answerAuth(r) {
		return
	}
	next, err := a.users.Apply(r, a.storage)
	if a.out.Err = err; err != nil {
		return
	}
	if next != a.users {
		a.Machine.users, a.out.Users = next, next
	}
	switch r := r.(type) {
	case *request.AuthUserDelete:
		a.out.Sessions = []Session{{User: r.Name}}
	case *request.AuthUserChangePassword:
		a.out.Sessions = []Session{{User: r.Name}}
	case *request.AuthDisable:
		a.out.Sessions = []Session{{}}
	}
	a.replyEmpty()
}

// answerAuth answers a request that changes nothing, and reports whether it is one.
func (a *apply) answerAuth(r request.Request) bool {
	var names []string
	switch r := r.(type) {
	case *request.AuthStatus:
		a.reply(func(h request.ResponseHeader) []byte {
			return request.AppendAuthStatusResponse(nil, h, request.AuthStatusResult{Enabled: a.users.Enabled(), Revision: a.users.Revision()})
		})
		return true
	case *request.Authenticate:
		a.login(r)
		return true
	case *request.AuthRoleGet:
		a.roleGet(r)
		return true
	case *request.AuthUserGet:
		names, a.out.Err = a.users.RolesOf(r.Name)
	case *request.AuthUserList:
		names = a.users.Users()
	case *request.AuthRoleList:
		names = a.users.Roles()
	default:
		return false
	}
	if a.out.Err == nil {
		a.reply(func(h request.ResponseHeader) []byte { return request.AppendAuthNamesResponse(nil, h, names) })
	}
	return true
}

func (a *apply) roleGet(r *request.AuthRoleGet) {
	list, err := a.users.Permissions(r.Role)
	if a.out.Err = err; err != nil {
		return
	}
	var out []request.Permission
	for _, p := range list {
		out = append(out, request.Permission(p))
	}
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendAuthRoleGetResponse(nil, h, out) })
}

// login notes a login whose password the proposer has checked. The token is what the proposer drew, and the index of the entry before this
// one, as on all members of either kind: whoever is shown it knows how far the log must be applied before it can be judged.
func (a *apply) login(r *request.Authenticate) {
	if _, a.out.Err = a.users.LogIn(r.Name); a.out.Err != nil {
		return
	}
	token := ""
	if r.SimpleToken != "" {
		token = r.SimpleToken + "." + strconv.FormatUint(a.index-1, 10)
		a.out.Sessions = []Session{{r.Name, token}}
	}
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendAuthenticateResponse(nil, h, token) })
}

// Users is who may do what. It never changes; Outcome.Users tells of the next one.
func (m *Machine) Users() *auth.State { return m.users }
