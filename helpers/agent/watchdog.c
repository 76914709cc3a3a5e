#include "watchdog.h"
void watchdog_look(struct watchdog *w)
{
    (void)w;
}
int watchdog_take(struct watchdog *w, struct fail *f)
{
    (void)w;
    (void)f;
    return 0;
}
void watchdog_feed(struct watchdog *w, int64_t now)
{
    (void)w;
    (void)now;
}
void watchdog_give_back(struct watchdog *w)
{
    (void)w;
}
