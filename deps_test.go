package ddb_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/ddb-project/ddb"

// importRule says what the code of a package may import beside the standard
// library; its tests may import anything.
type importRule struct {
	own     []string // packages of this repository, by folder; "x/..." is x and all below
	modules []string // modules of others
}

// Modules with a short name in the rules.
const (
	cborModule     = "github.com/fxamacker/cbor/v2"
	compressModule = "github.com/klauspost/compress"
	hclogModule    = "github.com/hashicorp/go-hclog"
	mysqlModule    = "github.com/go-sql-driver/mysql"
	sqliteModule   = "modernc.org/sqlite"
	promModule     = "github.com/prometheus/client_golang"
)

// mysqlParts begins the names of the packages that only internal/mysql and they themselves import, whatever the rules say.
const mysqlParts = "internal/mysql/"

// mysqlGround is what the parts of internal/mysql that work on tables stand on.
var mysqlGround = []string{"dialect", "internal/mysql/lang", "internal/mysql/codec", "internal/mysql/server"}

// importRules is a statement of policy: lower never knows higher. transport
// knows bytes, journal knows entries, ddb binds the parts to a node, console and examples know screens and flags.
// Every package must have a rule; a rule may be there before its package. Do not
// widen a rule to make a build pass: see whether the code stands in the right
// package first.
var importRules = map[string]importRule{
	// The library. The program picks the transport, so ddb imports none.
	".": {
		own: []string{"access", "conflict", "dialect", "health", "journal", "remedy", "transport", "internal/fault", "internal/fleet", "internal/follow", "internal/gate", "internal/keys", "internal/link", "internal/observe", "internal/remote", "internal/rights",
			"internal/route", "internal/schema", "internal/sequence", "internal/settle", "internal/snap", "internal/sqlclass", "internal/store", "internal/write"},
		modules: []string{hclogModule},
	},

	// Words that all parts share; they know nobody above them.
	"access":   {own: []string{"health", "journal"}},
	"conflict": {own: []string{"internal/fault", "journal"}},
	"health":   {own: []string{"internal/watch", "journal", "remedy"}},
	"remedy":   {},
	"journal":  {own: []string{"dialect", "internal/fault", "internal/watch", "internal/wire"}},

	// Bytes between nodes.
	"transport":               {},
	"transport/tcp":           {own: []string{"transport"}},
	"transport/inmem":         {own: []string{"transport", "internal/deadline"}},
	"transport/fault":         {own: []string{"transport", "internal/deadline"}},
	"transport/transporttest": {own: []string{"transport"}, modules: []string{"go.uber.org/goleak"}},

	// What differs between databases.
	"dialect":             {},
	"dialect/dialecttest": {own: []string{"dialect"}},
	"dialect/mysql":       {own: []string{"dialect", "internal/mysql"}},
	"dialect/sqlite":      {own: []string{"dialect", "internal/sqlite"}},
	"internal/sqlite":     {own: []string{"dialect", "internal/sqlclass"}, modules: []string{sqliteModule, "golang.org/x/sys"}},

	// MariaDB and MySQL: internal/mysql binds the parts, each of which knows those above it only. lang has the
	// numbers and texts of the server, codec the values, server and sessions what a node works on.
	"internal/mysql/lang":         {own: []string{"dialect"}, modules: []string{mysqlModule}},
	"internal/mysql/codec":        {own: []string{"dialect", "internal/mysql/lang"}},
	"internal/mysql/server":       {own: []string{"dialect", "internal/mysql/lang"}},
	"internal/mysql/sessions":     {own: []string{"dialect", "internal/mysql/lang", "internal/mysql/server"}},
	"internal/mysql/catalog":      {own: []string{"dialect", "internal/mysql/lang", "internal/mysql/codec", "internal/mysql/server"}},
	"internal/mysql/capture":      {own: append([]string{"internal/mysql/catalog", "internal/mysql/sessions"}, mysqlGround...)},
	"internal/mysql/apply":        {own: append([]string{"internal/mysql/catalog", "internal/mysql/sessions"}, mysqlGround...), modules: []string{mysqlModule}},
	"internal/mysql/transactions": {own: append([]string{"internal/mysql/catalog", "internal/mysql/sessions", "internal/mysql/capture"}, mysqlGround...)},
	"internal/mysql/schema":       {own: append([]string{"internal/mysql/catalog", "internal/mysql/sessions", "internal/mysql/capture"}, mysqlGround...)},
	"internal/mysql":              {own: []string{"dialect", "internal/mysql/..."}},

	// The parts of a node, bottom up.
	"internal/apply":    {own: []string{"dialect", "health", "journal", "internal/fault", "internal/keys", "internal/link", "internal/schema", "internal/sqlclass", "internal/store", "internal/wire", "remedy"}},
	"internal/follow":   {own: []string{"dialect", "health", "journal", "transport", "internal/apply", "internal/fault", "internal/keys", "internal/link", "internal/store", "internal/watch", "internal/wire", "remedy"}},
	"internal/snap":     {own: []string{"dialect", "health", "journal", "internal/apply", "internal/batch", "internal/fault", "internal/keys", "internal/link", "internal/sqlclass", "internal/store", "internal/watch", "internal/wire", "internal/write", "remedy"}},
	"internal/batch":    {own: []string{"dialect", "journal", "internal/fault", "internal/link", "internal/store", "internal/wire"}},
	"internal/fleet":    {own: []string{"access", "dialect", "health", "journal", "transport", "internal/fault", "internal/keys", "internal/link", "internal/schema", "internal/sequence", "internal/store", "internal/watch", "internal/wire", "remedy"}},
	"internal/settle":   {own: []string{"access", "conflict", "dialect", "journal", "internal/batch", "internal/fault", "internal/fleet", "internal/link", "internal/sequence", "internal/store", "internal/watch", "internal/wire"}},
	"internal/observe":  {own: []string{"health", "journal", "internal/route", "internal/watch"}, modules: []string{hclogModule}},
	"internal/keys":     {own: []string{"dialect", "health", "journal", "internal/fault", "internal/sqlclass", "internal/store", "internal/watch"}},
	"internal/link":     {own: []string{"dialect", "health", "journal", "transport", "internal/fault", "internal/wire", "remedy"}, modules: []string{hclogModule}},
	"internal/write":    {own: []string{"dialect", "journal", "internal/fault", "internal/keys", "internal/store"}},
	"internal/schema":   {own: []string{"dialect", "journal", "internal/fault", "internal/sqlclass", "internal/store"}},
	"internal/sequence": {own: []string{"dialect", "health", "journal", "internal/fault", "internal/keys", "internal/schema", "internal/sqlclass", "internal/store", "internal/watch", "remedy", "internal/write"}},
	"internal/store":    {own: []string{"dialect", "health", "journal", "internal/fault", "internal/rights", "internal/sqlclass", "internal/watch", "internal/wire"}, modules: []string{hclogModule}},

	// What a program's statements meet.
	"internal/route": {own: []string{"dialect", "health", "journal", "internal/fault", "internal/remote", "internal/rights", "internal/sqlclass", "internal/store", "internal/watch"},
		modules: []string{hclogModule}},
	"internal/gate": {own: []string{"dialect", "health", "journal", "internal/fault", "internal/keys", "internal/memory", "internal/remote", "internal/route", "internal/schema", "internal/sqlclass",
		"internal/store", "internal/write", "remedy"}},

	// Parts of the library that know nothing of it.
	"internal/sqlclass": {own: []string{"dialect"}},
	"internal/rights":   {own: []string{"internal/sqlclass"}},
	"internal/deadline": {},
	"internal/fault":    {},
	"internal/watch":    {},
	"internal/memory":   {},
	"internal/wire":     {own: []string{"internal/deadline", "internal/fault"}, modules: []string{cborModule, compressModule}},
	"internal/remote":   {own: []string{"internal/fault", "internal/wire", "remedy"}, modules: []string{cborModule}},

	// Screens and flags.
	"console":               {own: []string{".", "dialect", "internal/memory", "internal/sqlclass"}, modules: []string{promModule, hclogModule}},
	"examples/demo":         {own: []string{".", "console", "transport/tcp", "transport/fault", "examples/internal/..."}, modules: []string{hclogModule, "golang.org/x/sync"}},
	"examples/internal/cli": {own: []string{".", "console", "dialect/...", "remedy", "transport/...", "internal/..."}, modules: []string{hclogModule, mysqlModule, "github.com/schollz/progressbar/v3", "golang.org/x/term"}},
	"examples/master": {own: []string{".", "console", "transport/tcp", "examples/internal/..."},
		modules: []string{hclogModule, "github.com/schollz/progressbar/v3"}},
	"examples/replica":               {own: []string{".", "console", "transport/tcp", "examples/internal/..."}, modules: []string{hclogModule}},
	"examples/snap":                  {own: []string{".", "examples/internal/...", "examples/snap/internal/..."}, modules: []string{"golang.org/x/term"}},
	"examples/snap/internal/records": {own: []string{".", "internal/sqlclass"}, modules: []string{"charm.land/lipgloss/v2"}},
	"examples/snap/internal/live":    {own: []string{"."}},
	"examples/snap/internal/lines":   {own: []string{".", "examples/snap/internal/..."}},
	"examples/snap/internal/screen": {own: []string{".", "examples/snap/internal/..."},
		modules: []string{"charm.land/bubbletea/v2", "charm.land/huh/v2", "charm.land/lipgloss/v2"}},
	"examples/haproxy":   {},
	"examples/streamlit": {},

	// Measurements.
	"bench": {own: []string{".", "dialect/...", "transport/...", "internal/testdb"}, modules: []string{hclogModule}},

	// Stories of whole clusters: tests only.
	"internal/stories/statements": {},
	"internal/stories/replicas":   {},
	"internal/stories/histories":  {},
	"internal/stories/snaps":      {},
	"internal/stories/keys":       {},
	"internal/stories/schema":     {},
	"internal/stories/conflicts":  {},

	// Support of tests.
	"ddbtest":                  {own: []string{"."}, modules: testModules},
	"internal/crashtest":       {own: []string{"..."}, modules: testModules},
	"internal/crashtest/child": {own: []string{".", "dialect/...", "transport/...", "internal/..."}, modules: []string{hclogModule, mysqlModule}},
	"internal/testcluster":     {own: []string{".", "dialect/...", "transport", "transport/fault", "transport/inmem", "internal/testdb"}, modules: append([]string{hclogModule}, testModules...)},
	"internal/testfuzz":        {own: []string{"dialect", "internal/fault", "internal/wire"}},
	"internal/testdb":          {modules: []string{mysqlModule, sqliteModule, "go.uber.org/goleak"}},
	"tests/browser":            {},
	"tests/tools":              {},
	"tests/wire":               {},
	"tests/wrap":               {},
}

// testSupport lists the packages that serve tests only. Nothing else may import
// them, and nothing else may import testModules, whatever its rule says.
var testSupport = []string{
	"bench",
	"ddbtest",
	"dialect/dialecttest",
	"internal/testcluster",
	"internal/testdb",
	"internal/testfuzz",
	"transport/transporttest",
}

// testModules are for tests and testSupport.
var testModules = []string{
	"github.com/DATA-DOG/go-sqlmock",
	"github.com/anishathalye/porcupine",
	"github.com/chromedp/cdproto",
	"github.com/chromedp/chromedp",
	"github.com/creack/pty",
	"github.com/hashicorp/yamux",
	"github.com/jmoiron/sqlx",
	"github.com/pressly/goose/v3",
	"github.com/rogpeppe/go-internal",
	"github.com/stretchr/testify",
	"go.uber.org/goleak",
	"gorm.io/driver/mysql",
	"gorm.io/gorm",
	"pgregory.net/rapid",
}

// neverReaches holds what no chain of imports may join, however the rules grow.
var neverReaches = map[string][]string{
	".":             {"dialect/mysql", "dialect/sqlite", "internal/mysql", "internal/sqlite", "transport/tcp", "transport/inmem", "transport/fault", "console", "examples/...", "tests/..."},
	"transport/...": {".", "dialect/...", "console", "examples/..."},
	"dialect/...":   {".", "transport/...", "console", "examples/..."},
	"internal/wire": {".", "console", "examples/..."},
	"console":       {"examples/..."},
}

// Each package imports what its rule allows, and a package without a rule is an error.
func TestImportRules(t *testing.T) {
	imports := packageImports(t)
	for pkg, paths := range imports {
		for _, problem := range checkImports(pkg, paths) {
			t.Error(problem)
		}
	}
	for _, problem := range checkReach(imports) {
		t.Error(problem)
	}
}

// The checks find each kind of offence, and only that.
func TestImportRulesFindOffences(t *testing.T) {
	for _, c := range []struct {
		pkg, imports string
		problems     int
	}{
		{".", "database/sql", 0},
		{".", modulePath + "/transport", 0},
		{".", modulePath + "/transport/tcp", 1},
		{".", "github.com/hashicorp/go-hclog", 0},
		{".", "github.com/hashicorp/go-hclogs", 1},
		{".", "github.com/stretchr/testify/require", 1},
		{"transport", modulePath, 1},
		{"internal/wire", modulePath, 1},
		{"internal/mysql", modulePath + "/internal/mysql/capture", 0},
		{"internal/mysql/transactions", modulePath + "/internal/mysql/capture", 0},
		{"internal/mysql/capture", modulePath + "/internal/mysql/transactions", 1},
		{"examples/internal/cli", modulePath + "/internal/mysql", 0},
		{"examples/internal/cli", modulePath + "/internal/mysql/lang", 1},
		{"internal/wire", "github.com/klauspost/compress/zstd", 0},
		{"console", modulePath, 0},
		{"console", modulePath + "/internal/testdb", 1},
		{"examples/demo", modulePath + "/examples/internal/flags", 0},
		{"transport/transporttest", "go.uber.org/goleak", 0},
		{"no/such/package", "fmt", 1},
	} {
		if got := checkImports(c.pkg, []string{c.imports}); len(got) != c.problems {
			t.Errorf("%s importing %s: %q, want %d problems", c.pkg, c.imports, got, c.problems)
		}
	}
	chain := map[string][]string{
		".":                 {modulePath + "/internal/remote"},
		"internal/remote":   {modulePath + "/transport/tcp"},
		"transport/tcp":     {modulePath + "/transport"},
		"examples/internal": {modulePath + "/console"},
	}
	if got := checkReach(chain); len(got) != 1 || !strings.Contains(got[0], ". -> internal/remote -> transport/tcp") {
		t.Errorf("chain: %q", got)
	}
}

// checkImports returns how the imports of a package break its rule.
func checkImports(pkg string, imports []string) (problems []string) {
	rule, ok := importRules[pkg]
	if !ok {
		return []string{fmt.Sprintf("package %s has no rule in deps_test.go: say there what it may import", pkg)}
	}
	support := slices.Contains(testSupport, pkg)
	for _, imp := range imports {
		dir, own := ownPackage(imp)
		switch {
		case isStandard(imp):
		case own && !matchesAny(rule.own, dir):
			problems = append(problems, fmt.Sprintf("package %s may not import %s of this repository", pkg, dir))
		case own && strings.HasPrefix(dir, mysqlParts) && pkg != strings.TrimSuffix(mysqlParts, "/") && !strings.HasPrefix(pkg, mysqlParts):
			problems = append(problems, fmt.Sprintf("package %s may not import %s, a part of internal/mysql", pkg, dir))
		case own && !support && slices.Contains(testSupport, dir):
			problems = append(problems, fmt.Sprintf("package %s may import %s in its tests only", pkg, dir))
		case !own && !support && inModules(testModules, imp):
			problems = append(problems, fmt.Sprintf("package %s may import %s in its tests only", pkg, imp))
		case !own && !inModules(rule.modules, imp):
			problems = append(problems, fmt.Sprintf("package %s may not import %s", pkg, imp))
		}
	}
	return problems
}

// checkReach returns the chains of imports that neverReaches forbids.
func checkReach(imports map[string][]string) (problems []string) {
	for from, forbidden := range neverReaches {
		for pkg := range imports {
			if !matchesAny([]string{from}, pkg) {
				continue
			}
			for to, chain := range reachable(imports, pkg) {
				if to != pkg && matchesAny(forbidden, to) {
					problems = append(problems, "forbidden chain of imports: "+strings.Join(chain, " -> "))
				}
			}
		}
	}
	return problems
}

// reachable returns, for each package of this repository that start imports, a
// shortest chain of imports that leads there.
func reachable(imports map[string][]string, start string) map[string][]string {
	chains := map[string][]string{start: {start}}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, imp := range imports[queue[0]] {
			dir, own := ownPackage(imp)
			if !own || chains[dir] != nil {
				continue
			}
			chains[dir] = append(slices.Clone(chains[queue[0]]), dir)
			queue = append(queue, dir)
		}
	}
	return chains
}

// packageImports returns the imports of each package of this repository, in
// whichever of its modules it is, without its tests. It reads the files itself,
// so that those of other operating systems and build tags count too.
func packageImports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string]map[string]bool{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipDir(name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(name))
		if found[pkg] == nil {
			found[pkg] = map[string]bool{}
		}
		for _, spec := range file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[pkg][imp] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string][]string{}
	for pkg, set := range found {
		imports[pkg] = slices.Sorted(maps.Keys(set))
	}
	return imports
}

// skipDir returns fs.SkipDir for the folders that the go command leaves out.
func skipDir(name string) error {
	base := filepath.Base(name)
	if name == "." {
		return nil
	}
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	return nil
}

// ownPackage returns the folder of a package of this repository, "." for its root.
func ownPackage(imp string) (dir string, own bool) {
	if imp == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imp, modulePath+"/")
}

// isStandard relies on the modules of others beginning with a host name.
func isStandard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

func matchesAny(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		base, below := strings.CutSuffix(p, "/...")
		return dir == base || below && strings.HasPrefix(dir, base+"/")
	})
}

func inModules(modules []string, imp string) bool {
	return slices.ContainsFunc(modules, func(m string) bool {
		return imp == m || strings.HasPrefix(imp, m+"/")
	})
}
