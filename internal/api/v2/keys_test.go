package v2_test

import "testing"

// TestSet: a plain PUT.
func TestSet(t *testing.T) {
	play(t, []step{
		{"PUT /v2/keys/a value=x", 201, `{"action":"set","node":{"key":"/a","value":"x","modifiedIndex":2,"createdIndex":2}}`},
		{"PUT /v2/keys/a value=y", 200, `{"action":"set","node":{"key":"/a","value":"y","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"x","modifiedIndex":2,"createdIndex":2}}`},
		{"PUT /v2/keys/a?value=q value=b", 200, `{"action":"set","node":{"key":"/a","value":"b"…`},
		{"PUT /v2/keys/e", 201, `{"action":"set","node":{"key":"/e","value":"",…`},
		{"PUT /v2/keys/d/f/ value=%3C%26%3E", 201, `{"action":"set","node":{"key":"/d/f","value":"\u003c\u0026\u003e",…`},
		{"PUT /v2/keys/d value=x", 403, `{"errorCode":102,"message":"Not a file","cause":"/d","index":6}`},
		{"PUT /v2/keys/d?dir=true", 403, `{"errorCode":102,…`},
		{"PUT /v2/keys/a/b value=x", 400, `{"errorCode":104,"message":"Not a directory","cause":"/a","index":6}`},
		{"PUT /v2/keys/a dir=true", 200, `{"action":"set","node":{"key":"/a","dir":true,"modifiedIndex":7,"createdIndex":7},"prevNode":{"key":"/a","value":"b",…`},
		{"PUT /v2/keys/n?noValueOnSuccess=true value=x", 201, `{"action":"set"}`},
		{"PUT /v2/keys/ value=x", 400, `{"errorCode":107,"message":"Root is read only","cause":"/","index":8}`},
		{"PUT /v2/keys/p/q/r value=x", 201, ""},
		{"GET /v2/keys/p", 200, `{"action":"get","node":{"key":"/p","dir":true,"nodes":[{"key":"/p/q","dir":true,"modifiedIndex":9,"createdIndex":9}],"modifiedIndex":9,"createdIndex":9}}`},
		{"DELETE /v2/keys/p/q/r", 200, ""},
		{"GET /v2/keys/p/q", 200, `{"action":"get","node":{"key":"/p/q","dir":true,"modifiedIndex":9,"createdIndex":9}}`},
	})
}

// TestCreate: a PUT of what must not be there.
func TestCreate(t *testing.T) {
	play(t, []step{
		{"PUT /v2/keys/a?prevExist=false value=x", 201, `{"action":"create","node":{"key":"/a","value":"x","modifiedIndex":2,"createdIndex":2}}`},
		{"PUT /v2/keys/a?prevExist=false value=x", 412, `{"errorCode":105,"message":"Key already exists","cause":"/a","index":2}`},
		{"PUT /v2/keys/a?prevExist=false&prevValue=x value=y", 412, `{"errorCode":105,…`},
		{"PUT /v2/keys/a/b?prevExist=false value=x", 400, `{"errorCode":104,"message":"Not a directory","cause":"/a","index":2}`},
		{"PUT /v2/keys/d?prevExist=false&dir=true", 201, `{"action":"create","node":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3}}`},
		{"PUT /v2/keys/d?prevExist=false&dir=true", 412, `{"errorCode":105,…`},
		{"PUT /v2/keys/?prevExist=false value=x", 400, `{"errorCode":107,…`},
	})
}

// TestUpdate: a PUT of what must be there.
func TestUpdate(t *testing.T) {
	play(t, []step{
		{"PUT /v2/keys/a?prevExist=true value=x", 404, `{"errorCode":100,"message":"Key not found","cause":"/a","index":1}`},
		{"PUT /v2/keys/b/c?prevExist=true value=x", 404, `{"errorCode":100,"message":"Key not found","cause":"/b","index":1}`},
		{"PUT /v2/keys/a?ttl=100 value=x", 201, ""},
		{"PUT /v2/keys/a?prevExist=true", 200, `{"action":"update","node":{"key":"/a","value":"","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"x",…`},
		{"GET /v2/keys/a", 200, `{"action":"get","node":{"key":"/a","value":"","modifiedIndex":3,"createdIndex":2}}`},
		{"PUT /v2/keys/d dir=true", 201, ""},
		{"PUT /v2/keys/d/x value=1", 201, ""},
		{"PUT /v2/keys/d?prevExist=true value=x", 403, `{"errorCode":102,…`},
		{"PUT /v2/keys/d?prevExist=true", 200, `{"action":"update","node":{"key":"/d","dir":true,"modifiedIndex":6,"createdIndex":4},"prevNode":{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":4}}`},
		{"GET /v2/keys/d/x", 200, `{"action":"get","node":{"key":"/d/x","value":"1","modifiedIndex":5,"createdIndex":5}}`},
		{"PUT /v2/keys/?prevExist=true value=x", 400, `{"errorCode":107,…`},
	})
}

// TestCompareAndSwap: a PUT with conditions.
func TestCompareAndSwap(t *testing.T) {
	play(t, []step{
		{"PUT /v2/keys/a?prevValue=x value=y", 404, `{"errorCode":100,…`},
		{"PUT /v2/keys/a value=one", 201, ""},
		{"PUT /v2/keys/a?prevValue=two value=y", 412, `{"errorCode":101,"message":"Compare failed","cause":"[two != one]","index":2}`},
		{"PUT /v2/keys/a?prevIndex=13 value=y", 412, `{"errorCode":101,"message":"Compare failed","cause":"[13 != 2]","index":2}`},
		{"PUT /v2/keys/a?prevIndex=13&prevValue=two value=y", 412, `{"errorCode":101,"message":"Compare failed","cause":"[two != one] [13 != 2]","index":2}`},
		{"PUT /v2/keys/a?prevIndex=2&prevValue=two value=y", 412, `{"errorCode":101,"message":"Compare failed","cause":"[two != one]","index":2}`},
		{"PUT /v2/keys/a?prevIndex=2&prevValue=one value=y", 200, `{"action":"compareAndSwap","node":{"key":"/a","value":"y","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"one","modifiedIndex":2,"createdIndex":2}}`},
		{"PUT /v2/keys/a?prevExist=true&prevValue=y value=z", 200, `{"action":"compareAndSwap",…`},
		{"PUT /v2/keys/a?prevIndex=0 value=w", 200, `{"action":"set",…`},
		{"PUT /v2/keys/d dir=true", 201, ""},
		{"PUT /v2/keys/d?prevValue=x value=y", 403, `{"errorCode":102,…`},
		{"PUT /v2/keys/?prevValue=x value=y", 400, `{"errorCode":107,…`},
	})
}

// TestDelete: files and directories go.
func TestDelete(t *testing.T) {
	play(t, []step{
		{"DELETE /v2/keys/a", 404, `{"errorCode":100,"message":"Key not found","cause":"/a","index":1}`},
		{"PUT /v2/keys/a value=x", 201, ""},
		{"DELETE /v2/keys/a?dir=true", 200, `{"action":"delete","node":{"key":"/a","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"x","modifiedIndex":2,"createdIndex":2}}`},
		{"PUT /v2/keys/d/x/y value=1", 201, ""},
		{"DELETE /v2/keys/d", 403, `{"errorCode":102,"message":"Not a file","cause":"/d","index":4}`},
		{"DELETE /v2/keys/d?dir=true", 403, `{"errorCode":108,"message":"Directory not empty","cause":"/d","index":4}`},
		{"DELETE /v2/keys/d?recursive=true", 200, `{"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":5,"createdIndex":4},"prevNode":{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":4}}`},
		{"GET /v2/keys/d/x", 404, `{"errorCode":100,"message":"Key not found","cause":"/d","index":5}`},
		{"PUT /v2/keys/e dir=true", 201, ""},
		{"DELETE /v2/keys/e?dir=true", 200, ""},
		{"DELETE /v2/keys/?dir=true&recursive=true", 400, `{"errorCode":107,…`},
		{"PUT /v2/keys/f value=x", 201, ""},
		{"DELETE /v2/keys/f/g", 400, `{"errorCode":104,"message":"Not a directory","cause":"/f",…`},
	})
}

// TestCompareAndDelete: a DELETE with conditions.
func TestCompareAndDelete(t *testing.T) {
	play(t, []step{
		{"PUT /v2/keys/a value=one", 201, ""},
		{"DELETE /v2/keys/a?prevValue=two", 412, `{"errorCode":101,"message":"Compare failed","cause":"[two != one]","index":2}`},
		{"DELETE /v2/keys/a?prevIndex=3", 412, `{"errorCode":101,"message":"Compare failed","cause":"[3 != 2]","index":2}`},
		{"DELETE /v2/keys/a?prevValue=one&prevIndex=2", 200, `{"action":"compareAndDelete","node":{"key":"/a","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"one","modifiedIndex":2,"createdIndex":2}}`},
		{"PUT /v2/keys/d dir=true", 201, ""},
		{"DELETE /v2/keys/d?prevIndex=4&recursive=true&dir=true", 403, `{"errorCode":102,…`},
		{"DELETE /v2/keys/?prevIndex=4", 403, `{"errorCode":102,"message":"Not a file","cause":"/","index":4}`},
		{"DELETE /v2/keys/x?prevIndex=4", 404, `{"errorCode":100,…`},
	})
}

// TestInOrder: a POST.
func TestInOrder(t *testing.T) {
	play(t, []step{
		{"POST /v2/keys/q value=x", 201, `{"action":"create","node":{"key":"/q/00000000000000000002","value":"x","modifiedIndex":2,"createdIndex":2}}`},
		{"POST /v2/keys/q value=y", 201, `{"action":"create","node":{"key":"/q/00000000000000000003",…`},
		{"POST /v2/keys/q dir=true", 201, `{"action":"create","node":{"key":"/q/00000000000000000004","dir":true,…`},
		{"POST /v2/keys/ value=r", 201, `{"action":"create","node":{"key":"/00000000000000000005",…`},
		{"POST /v2/keys/00000000000000000005 value=r", 400, `{"errorCode":104,"message":"Not a directory","cause":"/00000000000000000005","index":5}`},
		{"GET /v2/keys/q?sorted=true", 200, `{"action":"get","node":{"key":"/q","dir":true,"nodes":[{"key":"/q/00000000000000000002","value":"x","modifiedIndex":2,"createdIndex":2},{"key":"/q/00000000000000000003",…`},
	})
}

// TestGet: files, directories and what is not there.
func TestGet(t *testing.T) {
	play(t, []step{
		{"GET /v2/keys", 200, `{"action":"get","node":{"dir":true}}`},
		{"GET /v2/keys/?recursive=true&sorted=true", 200, `{"action":"get","node":{"dir":true}}`},
		{"PUT /v2/keys/b/z value=1", 201, ""},
		{"PUT /v2/keys/b/a/q value=2", 201, ""},
		{"PUT /v2/keys/b-x value=3", 201, ""},
		{"PUT /v2/keys/b/_h/v value=4", 201, ""},
		{"PUT /v2/keys/b/_h/_w value=5", 201, ""},
		{"GET /v2/keys?sorted=true", 200, `{"action":"get","node":{"dir":true,"nodes":[{"key":"/b","dir":true,"modifiedIndex":2,"createdIndex":2},{"key":"/b-x","value":"3","modifiedIndex":4,"createdIndex":4}]}}`},
		{"GET /v2/keys/b?sorted=true", 200, `{"action":"get","node":{"key":"/b","dir":true,"nodes":[{"key":"/b/a","dir":true,"modifiedIndex":3,"createdIndex":3},{"key":"/b/z","value":"1","modifiedIndex":2,"createdIndex":2}],"modifiedIndex":2,"createdIndex":2}}`},
		{"GET /v2/keys/b?sorted=true&recursive=true", 200, `{"action":"get","node":{"key":"/b","dir":true,"nodes":[{"key":"/b/a","dir":true,"nodes":[{"key":"/b/a/q","value":"2","modifiedIndex":3,"createdIndex":3}],"modifiedIndex":3,"createdIndex":3},{"key":"/b/z","value":"1","modifiedIndex":2,"createdIndex":2}],"modifiedIndex":2,"createdIndex":2}}`},
		{"GET /v2/keys/b/_h", 200, `{"action":"get","node":{"key":"/b/_h","dir":true,"nodes":[{"key":"/b/_h/v","value":"4","modifiedIndex":5,"createdIndex":5}],"modifiedIndex":5,"createdIndex":5}}`},
		{"GET /v2/keys/b/_h/_w", 200, `{"action":"get","node":{"key":"/b/_h/_w","value":"5",…`},
		{"GET /v2/keys/b/z?quorum=true", 200, `{"action":"get","node":{"key":"/b/z","value":"1","modifiedIndex":2,"createdIndex":2}}`},
		{"GET /v2/keys/b/z?quorum=true&wait=true", 200, `{"action":"get",…`},
		{"GET /v2/keys/b/z/k", 400, `{"errorCode":104,"message":"Not a directory","cause":"/b/z","index":6}`},
		{"GET /v2/keys/c/d/e", 404, `{"errorCode":100,"message":"Key not found","cause":"/c","index":6}`},
		{"GET /v2/keys/b/c/e", 404, `{"errorCode":100,"message":"Key not found","cause":"/b/c","index":6}`},
		{"GET /v2/keysx", 404, "404 page not found"},
		{"PATCH /v2/keys/a", 405, "Method Not Allowed"},
		{"OPTIONS /v2/keys/a", 405, ""},
	})
}

// TestChecks: what is wrong with a request is found in this order.
func TestChecks(t *testing.T) {
	play(t, []step{
		{"PUT /v2/keys/a?prevIndex=x&waitIndex=y", 400, `{"errorCode":203,"message":"The given index in POST form is not a number","cause":"invalid value for \"prevIndex\"","index":0}`},
		{"GET /v2/keys/a?waitIndex=y&recursive=q", 400, `{"errorCode":203,"message":"The given index in POST form is not a number","cause":"invalid value for \"waitIndex\"","index":0}`},
		{"GET /v2/keys/a?waitIndex=-1", 400, `{"errorCode":203,…`},
		{"GET /v2/keys/a?waitIndex=", 400, `{"errorCode":203,…`},
		{"GET /v2/keys/a?recursive=q&sorted=q", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"recursive\"","index":0}`},
		{"GET /v2/keys/a?sorted=&wait=2", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"sorted\"","index":0}`},
		{"GET /v2/keys/a?wait=2&dir=2", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"wait\"","index":0}`},
		{"GET /v2/keys/a?dir=2&quorum=2", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"dir\"","index":0}`},
		{"GET /v2/keys/a?quorum=2&stream=2", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"quorum\"","index":0}`},
		{"PUT /v2/keys/a?stream=2&wait=true", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"stream\"","index":0}`},
		{"HEAD /v2/keys/a?wait=true", 400, `{"errorCode":209,"message":"Invalid field","cause":"\"wait\" can only be used with GET requests","index":0}`},
		{"PUT /v2/keys/a?wait=true&prevValue=", 400, `{"errorCode":209,"message":"Invalid field","cause":"\"wait\" can only be used with GET requests","index":0}`},
		{"PUT /v2/keys/a?prevValue=&noValueOnSuccess=q", 400, `{"errorCode":201,"message":"PrevValue is Required in POST form","cause":"\"prevValue\" cannot be empty","index":0}`},
		{"PUT /v2/keys/a?noValueOnSuccess=q&ttl=x", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"noValueOnSuccess\"","index":0}`},
		{"PUT /v2/keys/a?ttl=x&prevExist=q", 400, `{"errorCode":202,"message":"The given TTL in POST form is not a number","cause":"invalid value for \"ttl\"","index":0}`},
		{"PUT /v2/keys/a?ttl=-1", 400, `{"errorCode":202,…`},
		{"PUT /v2/keys/a?ttl=9999999999999", 400, `{"errorCode":202,…`},
		{"PUT /v2/keys/a?prevExist=q&refresh=q", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for prevExist","index":0}`},
		{"PUT /v2/keys/a?refresh=q", 400, `{"errorCode":209,"message":"Invalid field","cause":"invalid value for refresh","index":0}`},
		{"PUT /v2/keys/a?refresh=true&value=x", 400, `{"errorCode":211,"message":"Value provided on refresh","cause":"A value was provided on a refresh","index":0}`},
		{"PUT /v2/keys/a?refresh=true", 400, `{"errorCode":212,"message":"A TTL must be provided on refresh","cause":"No TTL value set","index":0}`},
		{"PUT /v2/keys/a?x=%zz", 400, `{"errorCode":210,"message":"Invalid POST form",…`},
		{"PUT /v2/keys/a %zz", 400, `{"errorCode":210,…`},
		{"PUT /v2/keys/a?ttl= value=x", 201, `{"action":"set","node":{"key":"/a","value":"x","modifiedIndex":2,"createdIndex":2}}`},
		{"DELETE /v2/keys/a prevValue=y", 200, ""},
	})
}
