package local

import (
	"context"
	"errors"
	"fmt"

	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// checkPage is how many repositories are looked at between two looks at whether
// somebody still waits for the check.
const checkPage = 100

// Usages implements registry.Accountant.
func (r *Registry) Usages(ctx context.Context, after oci.Name, limit int) (list []registry.RepositoryUsage, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		if list, err = tx.RepositoryUsages(meta.RepositoryRange{After: after, Limit: limit}); err != nil {
			return err
		}
		sums := make(map[registry.Span]registry.Usage)
		for i := range list {
			if err := r.addQuotas(tx, &list[i], sums); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list what repositories hold: %w", err)
	}
	return list, nil
}

// UsageOf implements registry.Accountant.
func (r *Registry) UsageOf(ctx context.Context, repo oci.Name) (u registry.RepositoryUsage, err error) {
	only := meta.RepositoryRange{Span: registry.Span{From: string(repo), To: string(repo) + "\x00"}, Limit: 1}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		list, err := tx.RepositoryUsages(only)
		if err == nil && len(list) == 0 {
			err = noRepository()
		}
		if err != nil {
			return err
		}
		u = list[0]
		return r.addQuotas(tx, &u, make(map[registry.Span]registry.Usage))
	})
	return u, err
}

// addQuotas adds the quotas that a repository is under. sums are what was summed
// up already.
func (r *Registry) addQuotas(tx *meta.Tx, u *registry.RepositoryUsage, sums map[registry.Span]registry.Usage) error {
	for _, q := range r.quotasOf(u.Name) {
		used, known := sums[q.span]
		if !known {
			var err error
			if used, err = tx.Usage(q.span); err != nil {
				return err
			}
			sums[q.span] = used
		}
		u.Quotas = append(u.Quotas, registry.QuotaUsage{Rule: q.Name, Used: used, Limit: q.Limit})
	}
	return nil
}

// CheckUsage implements registry.Accountant. It reads all names that there are,
// and writes only where a total is wrong.
func (r *Registry) CheckUsage(ctx context.Context) (registry.UsageCheck, error) {
	c := registry.UsageCheck{Wrong: []registry.UsageError{}}
	var after oci.Name
	for {
		var page []oci.Name
		err := r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.AllRepositories(after, checkPage)
			return err
		})
		for _, repo := range page {
			if err == nil {
				err = r.checkUsage(ctx, repo, &c)
			}
		}
		if err != nil {
			return c, fmt.Errorf("check what repositories hold: %w", err)
		}
		if len(page) < checkPage {
			return c, nil
		}
		after = page[len(page)-1]
	}
}

// checkUsage counts one repository, and again in the transaction that mends it.
func (r *Registry) checkUsage(ctx context.Context, repo oci.Name, c *registry.UsageCheck) error {
	e := registry.UsageError{Name: repo}
	compare := func(tx *meta.Tx) (err error) {
		if e.Was, err = tx.RepositoryUsage(repo); err == nil {
			e.Counted, err = tx.CountUsage(repo)
		}
		return err
	}
	err := r.db.View(ctx, compare)
	if err == nil && e.Was != e.Counted {
		err = r.db.Update(ctx, func(tx *meta.Tx) error {
			if err := compare(tx); err != nil || e.Was == e.Counted {
				return err
			}
			return tx.SetUsage(repo, e.Counted)
		})
	}
	if errors.Is(err, meta.ErrNotExist) {
		return nil // it is gone
	}
	if err != nil {
		return err
	}
	c.Repositories++
	if e.Was != e.Counted {
		c.Wrong = append(c.Wrong, e)
	}
	return nil
}
