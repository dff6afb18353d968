package admin

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/oci"
	"berth/registry"
)

// An accountant has so many repositories, of the names a/0000 and on.
type accountant int

func (n accountant) Usages(_ context.Context, after oci.Name, limit int) (list []registry.RepositoryUsage, err error) {
	for i := range int(n) {
		if name := oci.Name(fmt.Sprintf("a/%04d", i)); name > after && len(list) < limit {
			list = append(list, registry.RepositoryUsage{Name: name, Bytes: int64(i)})
		}
	}
	return list, nil
}

func (n accountant) UsageOf(_ context.Context, repo oci.Name) (registry.RepositoryUsage, error) {
	if repo != "a/b" {
		return registry.RepositoryUsage{}, oci.Errorf(oci.NameUnknown, "no such")
	}
	return registry.RepositoryUsage{Name: repo, Quotas: []registry.QuotaUsage{{Rule: "quota 1", Limit: registry.Usage{Bytes: 5}}}}, nil
}

func (n accountant) CheckUsage(context.Context) (registry.UsageCheck, error) {
	return registry.UsageCheck{Repositories: int(n), Wrong: []registry.UsageError{{Name: "a/b"}}}, nil
}

func TestUsageThroughASocket(t *testing.T) {
	client, service := newAPI(t)
	service.Usage = accountant(registry.MaxPage + 5)
	page, err := client.Usages(t.Context(), "a/0001", registry.MaxPage)
	if err != nil || len(page) != registry.MaxPage || page[0].Name != "a/0002" || page[0].Bytes != 2 {
		t.Errorf("%d repositories, %v", len(page), err)
	}
	if page, err = client.Usages(t.Context(), "a/0001", 2); err != nil || len(page) != 2 {
		t.Errorf("%d repositories of 2, %v", len(page), err)
	}
	if _, err := client.Usages(t.Context(), "A", 2); !errors.Is(err, &Error{Kind: Invalid}) {
		t.Errorf("after what is no name: %v", err)
	}
	u, err := client.UsageOf(t.Context(), "a/b")
	want, _ := accountant(0).UsageOf(t.Context(), "a/b")
	if d := cmp.Diff(want, u); err != nil || d != "" {
		t.Error(d, err)
	}
	if _, err := client.UsageOf(t.Context(), "a/c"); !errors.Is(err, &Error{Kind: NotFound}) {
		t.Errorf("what is not there: %v", err)
	}
	if c, err := client.CheckUsage(t.Context()); err != nil || c.Repositories != registry.MaxPage+5 || len(c.Wrong) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
