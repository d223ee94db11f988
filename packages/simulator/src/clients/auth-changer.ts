import { OPEN_END } from '@etsd/base';
import {
  AuthDisableRequest,
  AuthEnableRequest,
  AuthenticateRequest,
  AuthenticateResponse,
  AuthPermission,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGrantPermissionRequest,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
} from '@etsd/proto';
import { StatusCode } from '@etsd/rpc';
import { Chore } from './chores.ts';

const PATIENCE_MS = 3000;
const RETRY_MS = 200;
const ROOT = 'root';
const ROOT_PASSWORD = 'root';
const USER = 'client';
const READ_WRITE = 2;

/** Turns authentication on and off under load, changes the password of the user all clients share, and adds others. */
export class AuthChanger extends Chore {
  private isOn = false;
  private password = 'p0';
  private others = 0;

  /** In peace everybody waits for this one. */
  protected override pauseMs(): number {
    return this.isOn && this.shared.cluster.net.isCalm ? RETRY_MS : super.pauseMs();
  }

  protected override pause(ms: number): Promise<void> {
    return this.shared.pause(this.client.world.timers, ms, true);
  }

  override async run(): Promise<void> {
    await super.run();
    this.client.close();
  }

  protected async work(): Promise<boolean> {
    const { shared, prng } = this;
    if (!this.isOn && !shared.cluster.net.isCalm) {
      await this.enable();
      if (!shared.cluster.net.isCalm) return true;
    }
    // Peace, which may have come meanwhile, is for looking at the rest without having to log in.
    if (shared.cluster.net.isCalm) {
      if (this.isOn) await this.disable();
      return true;
    }
    switch (prng.below(6)) {
      case 0:
        await this.disable();
        break;
      case 1:
      case 2:
        await this.changePassword();
        break;
      case 3:
        await this.until(
          '/etcdserverpb.Auth/RoleAdd',
          AuthRoleAddRequest.encode(AuthRoleAddRequest.create({ name: this.other('r') })),
        );
        break;
      case 4:
        await this.until('/etcdserverpb.Auth/UserAdd', this.userAdd(this.other('u'), 'x'));
        break;
      default:
        await this.dropOther();
    }
    return true;
  }

  private other(kind: string): string {
    return `${kind}${++this.others}`;
  }

  private userAdd(name: string, password: string): Buffer {
    return AuthUserAddRequest.encode(AuthUserAddRequest.create({ name, password }));
  }

  private async enable(): Promise<void> {
    const { shared } = this;
    shared.isAuthOn = true;
    await this.turnOn();
    shared.isAuthOn = this.isOn;
  }

  private async turnOn(): Promise<void> {
    const grant = (user: string, role: string): Buffer =>
      AuthUserGrantRoleRequest.encode(AuthUserGrantRoleRequest.create({ user, role }));
    const role = (name: string): Buffer => AuthRoleAddRequest.encode(AuthRoleAddRequest.create({ name }));
    const perm = AuthPermission.create({
      permType: READ_WRITE,
      key: Buffer.from('\0'),
      rangeEnd: Buffer.from(OPEN_END),
    });
    const everything = AuthRoleGrantPermissionRequest.create({ name: 'all', perm });
    const steps: [method: string, request: Buffer][] = [
      ['UserAdd', this.userAdd(ROOT, ROOT_PASSWORD)],
      ['RoleAdd', role(ROOT)],
      ['UserGrantRole', grant(ROOT, ROOT)],
      ['UserAdd', this.userAdd(USER, this.password)],
      ['RoleAdd', role('all')],
      ['RoleGrantPermission', AuthRoleGrantPermissionRequest.encode(everything)],
      ['UserGrantRole', grant(USER, 'all')],
    ];
    if (this.prng.chance(0.5)) steps.push(['UserGrantRole', grant(USER, ROOT)]);
    for (const [method, request] of steps) {
      if (!(await this.until(`/etcdserverpb.Auth/${method}`, request))) return;
    }
    const { shared } = this;
    shared.credentials = { name: USER, passwords: [this.password] };
    this.isOn = true;
    await this.until('/etcdserverpb.Auth/AuthEnable', AuthEnableRequest.encode(new AuthEnableRequest()));
    shared.cluster.trace.note(this.name, 'authentication is on');
  }

  private async disable(): Promise<void> {
    const { shared } = this;
    if (!(await this.until('/etcdserverpb.Auth/AuthDisable', AuthDisableRequest.encode(new AuthDisableRequest()))))
      return;
    this.isOn = false;
    shared.isAuthOn = false;
    shared.cluster.trace.note(this.name, 'authentication is off');
  }

  private async changePassword(): Promise<void> {
    const { shared } = this;
    const before = this.password;
    this.password = `p${shared.unique()}`;
    shared.credentials = { name: USER, passwords: [this.password, before] };
    const request = AuthUserChangePasswordRequest.create({ name: USER, password: this.password });
    await this.until('/etcdserverpb.Auth/UserChangePassword', AuthUserChangePasswordRequest.encode(request));
  }

  private async dropOther(): Promise<void> {
    const name = `${this.prng.pick(['u', 'r'])}${this.prng.below(this.others + 1)}`;
    if (name.startsWith('u')) {
      await this.until(
        '/etcdserverpb.Auth/UserDelete',
        AuthUserDeleteRequest.encode(AuthUserDeleteRequest.create({ name })),
      );
    } else {
      await this.until(
        '/etcdserverpb.Auth/RoleDelete',
        AuthRoleDeleteRequest.encode(AuthRoleDeleteRequest.create({ role: name })),
      );
    }
  }

  /** Until it is done, or found done already; false where the run is over before. */
  private async until(path: string, request: Buffer): Promise<boolean> {
    while (!this.shared.isOver) {
      const { code, message } = await this.call(path, request, PATIENCE_MS);
      if (code === StatusCode.OK || /already exists|not found|is not enabled|is not granted/.test(message)) return true;
      this.move();
      await this.client.sleep(RETRY_MS);
    }
    return false;
  }

  protected override async logInIfAsked(): Promise<void> {
    const request = AuthenticateRequest.encode(AuthenticateRequest.create({ name: ROOT, password: ROOT_PASSWORD }));
    this.client.token = '';
    const { bytes } = await this.client.call(this.member, '/etcdserverpb.Auth/Authenticate', request, PATIENCE_MS);
    if (bytes !== null) this.client.token = AuthenticateResponse.decode(bytes).token;
  }
}
