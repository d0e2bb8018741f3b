package policy

import (
	"go/ast"
	"go/token"
)

// noMutableVariables: a package variable is a name for a value, never a place
// to store one. It has no type made for changing and nothing assigns to it, to
// an element or to a field of it, in the file that declares it. Tests may count.
func noMutableVariables(s source) []string {
	if s.isTest() {
		return nil
	}
	declared := map[string]bool{}
	var found []string
	for _, decl := range s.file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			value := spec.(*ast.ValueSpec)
			if name := changing(value.Type); name != "" {
				found = append(found, s.at(value.Pos())+": package variable of type "+name)
			}
			for _, name := range value.Names {
				declared[name.Name] = true
			}
		}
	}
	for _, f := range functions(s) {
		found = append(found, changes(s, f, declared)...)
	}
	return found
}

// changes finds the statements of a function that write to one of the package
// variables. A name that the function also gives to something of its own is
// taken to mean that.
func changes(s source, f *ast.FuncDecl, declared map[string]bool) []string {
	own := locals(f)
	var found []string
	ast.Inspect(f, func(n ast.Node) bool {
		for _, target := range targets(n) {
			if id := root(target); id != nil && declared[id.Name] && !own[id.Name] {
				found = append(found, s.at(n.Pos())+": changes the package variable "+id.Name)
			}
		}
		return true
	})
	return found
}

// locals returns the names that a function declares.
func locals(f *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	add := func(expr ast.Expr) {
		if id, ok := expr.(*ast.Ident); ok {
			names[id.Name] = true
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch v := n.(type) {
		case *ast.AssignStmt:
			if v.Tok == token.DEFINE {
				for _, expr := range v.Lhs {
					add(expr)
				}
			}
		case *ast.RangeStmt:
			if v.Tok == token.DEFINE {
				add(v.Key)
				add(v.Value)
			}
		case *ast.ValueSpec:
			for _, id := range v.Names {
				add(id)
			}
		case *ast.Field:
			for _, id := range v.Names {
				add(id)
			}
		}
		return true
	})
	return names
}

// changing names the types whose only use is to be changed.
func changing(expr ast.Expr) string {
	if sel, ok := expr.(*ast.SelectorExpr); ok {
		if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "sync" || pkg.Name == "atomic") {
			return pkg.Name + "." + sel.Sel.Name
		}
	}
	if _, ok := expr.(*ast.ChanType); ok {
		return "chan"
	}
	return ""
}

// targets returns what a statement or call writes to.
func targets(n ast.Node) []ast.Expr {
	switch v := n.(type) {
	case *ast.AssignStmt:
		if v.Tok != token.DEFINE {
			return v.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{v.X}
	case *ast.CallExpr:
		if id, ok := v.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(v.Args) > 0 {
			return v.Args[:1]
		}
	}
	return nil
}

// root returns the variable at the bottom of x.f[i].g, or nil.
func root(expr ast.Expr) *ast.Ident {
	for {
		switch e := expr.(type) {
		case *ast.Ident:
			return e
		case *ast.SelectorExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.StarExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		default:
			return nil
		}
	}
}
