package e2e

import (
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/directory"
)

// TestDirectories runs testdata/directory/*.txtar: the scripts that have an
// Active Directory, corp, and an OpenLDAP, lab, which directories.yml names.
// Beside the commands of TestScripts they have these, of which the directory is
// corp or lab:
//
//	directory corp join GROUP MEMBER    adds a user or a group to a group (corp only)
//	directory corp leave GROUP MEMBER   takes it out again
//	directory corp password USER TEXT   sets a password
//	directory corp disable USER         disables an account (corp only)
func TestDirectories(t *testing.T) {
	if _, err := shared.berth(); err != nil {
		t.Fatal(err)
	}
	corp, lab := directory.StartSamba(t), directory.StartOpenLDAP(t)
	populateCorp(corp)
	populateLab(lab)
	params := scripts("testdata/directory")
	params.Setup = func(env *testscript.Env) error {
		env.Values[variables{}] = []string{
			"$CORP_URL", corp.TLSURL, "$CORP_CA", corp.CAFile, "$CORP_BINDDN", corp.BindDN, "$CORP_PASSWORD", corp.Password,
			"$LAB_URL", lab.URL, "$LAB_BINDDN", lab.BindDN, "$LAB_PASSWORD", lab.Password, "$LAB_BASE", lab.BaseDN,
		}
		return setupScript(env)
	}
	params.Cmds["directory"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 3 {
			ts.Fatalf("usage: directory NAME VERB NAME [ARGUMENT]")
		}
		change := map[string]func(string, string){
			"corp join":     func(group, member string) { corp.AddMember(corp.DN(group), corp.DN(member)) },
			"corp leave":    func(group, member string) { corp.RemoveMember(corp.DN(group), corp.DN(member)) },
			"corp password": func(user, password string) { corp.SetPassword(corp.DN(user), password) },
			"corp disable":  func(user, _ string) { corp.Disable(corp.DN(user)) },
			"lab leave":     func(group, member string) { lab.RemoveMember(labGroup(lab, group), labUser(lab, member)) },
			"lab password":  func(user, password string) { lab.SetPassword(labUser(lab, user), password) },
		}[strings.Join(args[:2], " ")]
		if change == nil {
			ts.Fatalf("directory: there is no %s of %s", args[1], args[0])
		}
		change(args[2], args[len(args)-1])
	}
	testscript.Run(t, params)
}

func labUser(lab *directory.OpenLDAP, name string) string {
	return "uid=" + name + ",ou=people," + lab.BaseDN
}

func labGroup(lab *directory.OpenLDAP, name string) string {
	return "cn=" + name + ",ou=groups," + lab.BaseDN
}

func populateCorp(corp *directory.Samba) {
	user := func(name, password string) string {
		return corp.AddUser(directory.SambaUser{CN: name, Password: password})
	}
	corp.AddGroup("builders", corp.AddGroup("inner-builders", user("corp-builder", "secret-builder")))
	corp.AddGroup("readers", user("corp-reader", "secret-reader"))
	corp.Disable(user("corp-disabled", "secret-builder"))
	corp.AddGroup("test-outer", corp.AddGroup("test-inner", user("test-corp", "secret-right")))
	for _, name := range []string{"corp-only", "alice", "both"} {
		user(name, "secret-corp")
	}
}

func populateLab(lab *directory.OpenLDAP) {
	lab.AddGroup("builders", lab.AddUser("lab-builder", "secret-builder"))
	lab.AddGroup("readers", lab.AddUser("lab-reader", "secret-reader"), lab.AddUser("both", "secret-lab"))
	lab.AddUser("test-lab", "secret-right")
	for _, name := range []string{"lab-only", "alice", "erin"} {
		lab.AddUser(name, "secret-lab")
	}
}
